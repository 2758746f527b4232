"""Every script parses and runs under a POSIX shell."""

import shutil
import sys

import pytest
from run import ROOT, run

SCRIPTS = sorted((ROOT / 'tools').glob('*.sh'))
SHELL = shutil.which('dash') or shutil.which('sh')
SHOW = '#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\n'
# A launcher of processes that only shows what it was asked for, on a machine that seems to have
# some GPUs.
FAKE_TORCHRUN = """
import os, runpy, sys, torch, torch.distributed.run as run
torch.cuda.device_count = lambda: int(os.environ['GPUS'])
def show(words):
    print(os.environ['OMP_NUM_THREADS'], os.environ['PYTHONPATH'])
    print('\\n'.join(f'[{word}]' for word in words))
run.main = show
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.fixture
def launchers(tmp_path):
    """A PATH whose python3 and srun only show their arguments."""
    for name in ('python3', 'srun'):
        (tmp_path / name).write_text(SHOW)
        (tmp_path / name).chmod(0o755)
    return f'{tmp_path}:/usr/bin:/bin'


def words(done):
    assert done.returncode == 0, done.stderr
    return [s[1:-1] for s in done.stdout.splitlines() if s.startswith('[')]


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda s: s.name)
def test_parses(script):
    assert run('sh', '-n', script).returncode == 0
    assert run(SHELL, '-n', script).returncode == 0
    assert script.read_text().startswith('#!/bin/sh\n')


def test_dist_train_passes_words_on(launchers, tmp_path):
    done = run(
        SHELL,
        ROOT / 'tools/dist_train.sh',
        'my config.py',
        '3',
        '--work-dir',
        'a folder',
        '--cfg-options',
        'x="[1, 2]"',
        '',
        cwd=tmp_path,
        PATH=launchers,
    )
    assert words(done) == [
        str(ROOT / 'tools/dist_run.py'),
        'train.py',
        '3',
        'my config.py',
        '--work-dir',
        'a folder',
        '--cfg-options',
        'x="[1, 2]"',
        '',
    ]


def test_dist_test_passes_words_on(launchers, tmp_path):
    done = run(
        SHELL,
        ROOT / 'tools/dist_test.sh',
        'c.py',
        'a b.pth',
        '8',
        '--out',
        'o.pkl',
        cwd=tmp_path,
        PATH=launchers,
    )
    assert words(done) == [
        str(ROOT / 'tools/dist_run.py'),
        'test.py',
        '8',
        'c.py',
        'a b.pth',
        '--out',
        'o.pkl',
    ]


def dist_run(count, gpus=0, **env):
    return run(
        sys.executable,
        '-c',
        FAKE_TORCHRUN,
        ROOT / 'tools/dist_run.py',
        'train.py',
        count,
        'c.py',
        '--work-dir',
        'a b',
        GPUS=str(gpus),
        **env,
    )


def test_torchrun_on_one_machine():
    done = dist_run('3', gpus=4, OMP_NUM_THREADS='7')
    assert words(done) == [
        '--nnodes=1',
        '--node-rank=0',
        '--master-addr=127.0.0.1',
        '--master-port=29500',
        '--nproc-per-node=3',
        str(ROOT / 'tools/train.py'),
        '--launcher',
        'pytorch',
        'c.py',
        '--work-dir',
        'a b',
    ]
    assert done.stdout.startswith(f'7 {ROOT}')


def test_torchrun_on_several_machines():
    done = dist_run('1', NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1', PORT='4321')
    assert words(done)[:5] == [
        '--nnodes=2',
        '--node-rank=1',
        '--master-addr=10.0.0.1',
        '--master-port=4321',
        '--nproc-per-node=1',
    ]


@pytest.mark.parametrize('count', ['0', '-1', 'two', '', '1.5'])
def test_bad_process_counts(count):
    done = dist_run(count)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == (
        f'error: "{count}" processes: give a number from 1 on, one for each GPU\n'
    )


def test_more_processes_than_gpus():
    done = dist_run('3', gpus=2)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == (
        'error: 3 processes were asked for, but this machine has 2 GPUs: '
        'start 2, or set CUDA_VISIBLE_DEVICES=-1 to run on the CPU\n'
    )


@pytest.mark.parametrize(
    'script, tail',
    [
        (
            'slurm_train.sh',
            ['train.py', '--launcher', 'slurm', 'c.py', '--work-dir', 'w d', '--amp'],
        ),
        ('slurm_test.sh', ['test.py', '--launcher', 'slurm', 'c.py', 'w d', '--amp']),
    ],
)
def test_slurm(launchers, tmp_path, script, tail):
    done = run(
        SHELL,
        ROOT / 'tools' / script,
        'part',
        'job name',
        'c.py',
        'w d',
        '--amp',
        cwd=tmp_path,
        PATH=launchers,
        GPUS='4',
        SRUN_ARGS='--quotatype=spot --nice',
    )
    assert words(done) == [
        '-p',
        'part',
        '--job-name=job name',
        '--gres=gpu:4',
        '--ntasks=4',
        '--ntasks-per-node=4',
        '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
        '--quotatype=spot',
        '--nice',
        'python',
        '-u',
        str(ROOT / 'tools' / tail[0]),
        *tail[1:],
    ]


@pytest.mark.parametrize('script', [s.name for s in SCRIPTS if not s.name.endswith('_run.sh')])
def test_usage(script):
    done = run(SHELL, ROOT / 'tools' / script)
    assert done.returncode == 2
    assert done.stderr.startswith('usage: sh ')
