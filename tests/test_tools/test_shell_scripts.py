"""Every script parses and runs under a POSIX shell."""

import shutil

import pytest
from run import ROOT, run

SCRIPTS = sorted((ROOT / 'tools').glob('*.sh'))
SHELL = shutil.which('dash') or shutil.which('sh')
SHOW = '#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\n'
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
