"""Every script parses and runs under a POSIX shell."""

import shutil

import pytest
from run import ROOT, failed, run, script

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
DIST_RUN = ROOT / 'tools/dist_run.py'


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


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda s: s.name)
def test_parses(path):
    assert run('sh', '-n', path).returncode == 0
    assert run(SHELL, '-n', path).returncode == 0
    assert path.read_text().startswith('#!/bin/sh\n')


@pytest.mark.parametrize(
    'name, arguments, passed_on',
    [
        (
            'dist_train.sh',
            ['my config.py', '3', '--cfg-options', 'x="[1, 2]"', ''],
            ['train.py', '3', 'my config.py', '--cfg-options', 'x="[1, 2]"', ''],
        ),
        (
            'dist_test.sh',
            ['c.py', 'a b.pth', '8', '--out', 'o.pkl'],
            ['test.py', '8', 'c.py', 'a b.pth', '--out', 'o.pkl'],
        ),
    ],
)
def test_words_are_passed_on(launchers, tmp_path, name, arguments, passed_on):
    done = run(SHELL, ROOT / 'tools' / name, *arguments, cwd=tmp_path, PATH=launchers)
    assert words(done) == [str(DIST_RUN), *passed_on]


@pytest.fixture
def dist_run(tmp_path):
    """Runs tools/dist_run.py by the false torchrun."""
    path = tmp_path / 'fake_torchrun.py'
    path.write_text(FAKE_TORCHRUN)

    def start(count, gpus=0, **env):
        arguments = 'train.py', count, 'c.py', '--work-dir', 'a b'
        return script(path, DIST_RUN, *arguments, GPUS=str(gpus), **env)

    return start


def test_torchrun_on_one_machine(dist_run):
    done = dist_run('3', gpus=4, OMP_NUM_THREADS='7')
    machines = '--nnodes=1 --node-rank=0 --master-addr=127.0.0.1 --master-port=29500'
    command = f'--nproc-per-node=3 {ROOT}/tools/train.py --launcher pytorch c.py --work-dir'
    assert words(done) == [*machines.split(), *command.split(), 'a b']
    assert done.stdout.startswith(f'7 {ROOT}')


def test_torchrun_on_several_machines(dist_run):
    done = dist_run('1', NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1', PORT='4321')
    machines = '--nnodes=2 --node-rank=1 --master-addr=10.0.0.1 --master-port=4321'
    assert words(done)[:5] == [*machines.split(), '--nproc-per-node=1']


@pytest.mark.parametrize('count', ['0', '-1', 'two', '', '1.5'])
def test_bad_process_counts(dist_run, count):
    done = dist_run(count)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == (f'error: "{count}" processes: give a number from 1, one per GPU\n')


def test_more_processes_than_gpus(dist_run):
    done = dist_run('3', gpus=2)
    assert done.returncode == 2 and not done.stdout
    assert '3 processes were asked for, but this machine has 2 GPUs: start 2, or' in failed(done)


@pytest.mark.parametrize(
    'program, rest', [('train.py', ['--work-dir', 'w d', '--amp']), ('test.py', ['w d', '--amp'])]
)
def test_slurm(launchers, tmp_path, program, rest):
    arguments = 'part', 'job name', 'c.py', 'w d', '--amp'
    env = dict(PATH=launchers, GPUS='4', SRUN_ARGS='--quotatype=spot --nice')
    path = ROOT / f'tools/slurm_{program[:-3]}.sh'
    done = run(SHELL, path, *arguments, cwd=tmp_path, **env)
    tasks = '--gres=gpu:4 --ntasks=4 --ntasks-per-node=4 --cpus-per-task=5 --kill-on-bad-exit=1'
    command = f'--quotatype=spot --nice python -u {ROOT}/tools/{program}'
    flags = *tasks.split(), *command.split(), '--launcher', 'slurm', 'c.py'
    assert words(done) == ['-p', 'part', '--job-name=job name', *flags, *rest]


@pytest.mark.parametrize('name', [s.name for s in SCRIPTS if not s.name.endswith('_run.sh')])
def test_usage(name):
    done = run(SHELL, ROOT / 'tools' / name)
    assert done.returncode == 2
    assert done.stderr.startswith('usage: sh ')
