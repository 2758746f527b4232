"""Every script parses and runs under a POSIX shell."""
import shutil

import pytest
from run import ROOT, run

SCRIPTS = sorted((ROOT / 'tools').glob('*.sh'))
SHELL = shutil.which('dash') or shutil.which('sh')
SHOW = ('#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\n'
        'echo "threads=$OMP_NUM_THREADS first=${PYTHONPATH%%:*}"\n')


@pytest.fixture
def launchers(tmp_path):
    """A PATH whose torchrun and srun only show their arguments."""
    for name in ('torchrun', 'srun'):
        (tmp_path / name).write_text(SHOW)
        (tmp_path / name).chmod(0o755)
    return f'{tmp_path}:/usr/bin:/bin'


def words(done):
    assert done.returncode == 0, done.stderr
    return [s[1:-1] for s in done.stdout.splitlines() if s.startswith('[')]


def test_there_are_six():
    assert [s.name for s in SCRIPTS] == [
        'dist_run.sh', 'dist_test.sh', 'dist_train.sh', 'slurm_run.sh',
        'slurm_test.sh', 'slurm_train.sh'
    ]


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda s: s.name)
def test_parses(script):
    assert run('sh', '-n', script).returncode == 0
    assert run(SHELL, '-n', script).returncode == 0
    assert script.read_text().startswith('#!/bin/sh\n')


def test_dist_train(launchers, tmp_path):
    done = run(SHELL, ROOT / 'tools/dist_train.sh', 'my config.py', '3',
               '--work-dir', 'a folder', '--cfg-options', 'x="[1, 2]"', '',
               cwd=tmp_path, PATH=launchers, OMP_NUM_THREADS='7')
    assert words(done) == [
        '--nnodes=1', '--node-rank=0', '--master-addr=127.0.0.1',
        '--master-port=29500', '--nproc-per-node=3',
        str(ROOT / 'tools/train.py'), '--launcher', 'pytorch', 'my config.py',
        '--work-dir', 'a folder', '--cfg-options', 'x="[1, 2]"', ''
    ]
    assert f'threads=7 first={ROOT}' in done.stdout


def test_dist_test_on_several_machines(launchers, tmp_path):
    done = run(SHELL, ROOT / 'tools/dist_test.sh', 'c.py', 'a b.pth', '8',
               '--out', 'o.pkl', cwd=tmp_path, PATH=launchers, NNODES='2',
               NODE_RANK='1', MASTER_ADDR='10.0.0.1', PORT='4321')
    assert words(done) == [
        '--nnodes=2', '--node-rank=1', '--master-addr=10.0.0.1',
        '--master-port=4321', '--nproc-per-node=8',
        str(ROOT / 'tools/test.py'), '--launcher', 'pytorch', 'c.py',
        'a b.pth', '--out', 'o.pkl'
    ]


@pytest.mark.parametrize('script, tail', [
    ('slurm_train.sh', ['train.py', '--launcher', 'slurm', 'c.py',
                        '--work-dir', 'w d', '--amp']),
    ('slurm_test.sh', ['test.py', '--launcher', 'slurm', 'c.py', 'w d',
                       '--amp']),
])
def test_slurm(launchers, tmp_path, script, tail):
    done = run(SHELL, ROOT / 'tools' / script, 'part', 'job name', 'c.py',
               'w d', '--amp', cwd=tmp_path, PATH=launchers, GPUS='4',
               SRUN_ARGS='--quotatype=spot --nice')
    assert words(done) == [
        '-p', 'part', '--job-name=job name', '--gres=gpu:4', '--ntasks=4',
        '--ntasks-per-node=4', '--cpus-per-task=5', '--kill-on-bad-exit=1',
        '--quotatype=spot', '--nice', 'python', '-u',
        str(ROOT / 'tools' / tail[0]), *tail[1:]
    ]


@pytest.mark.parametrize('count', ['0', '-1', 'two', '', '1.5', '08'])
@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
def test_bad_process_counts(launchers, script, count):
    before = ['c.py'] if 'train' in script else ['c.py', 'k.pth']
    done = run(SHELL, ROOT / 'tools' / script, *before, count, PATH=launchers)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == (f'error: "{count}" processes: give a number from '
                           '1 on, one for each GPU\n')


@pytest.mark.parametrize('script', [
    s.name for s in SCRIPTS if not s.name.endswith('_run.sh')])
def test_usage(script):
    done = run(SHELL, ROOT / 'tools' / script)
    assert done.returncode == 2
    assert done.stderr.startswith('usage: sh ')
