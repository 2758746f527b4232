"""Several processes of a tool, and how they end."""

import os
import signal
import subprocess
import sys
import time

import pytest
from run import ROOT, default_interrupt, environment, run

DIST_RUN = ROOT / 'tools/dist_run.py'
TOOL = """
import os, sys, time
from mmrazor_byot.command import catch_signals, run_command
from mmrazor_byot.errors import ConfigError
catch_signals('go on')
rank = int(os.environ['RANK'])
def main():
    open(f'{rank}.pid', 'w').write(str(os.getpid()))
    case = sys.argv[-1]
    if case == 'show':
        names = 'RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT'
        names = [*names.split(), 'OMP_NUM_THREADS']
        values = ' '.join(os.environ[name] for name in names)
        sys.stdout.write(f'{values} {sys.argv[1:]}\\n')
    elif case == 'all fail' or case == 'one fails' and rank == 1:
        raise ConfigError('bad config')
    elif case == 'bug' and rank == 1:
        1 / 0
    else:
        time.sleep(60)
run_command(main)
"""


@pytest.fixture
def start(tmp_path):
    """Starts processes of a small tool in a session of their own."""
    (tmp_path / 'tool.py').write_text(TOOL)

    def start(*arguments, **env):
        return subprocess.Popen(
            [sys.executable, DIST_RUN, tmp_path / 'tool.py', *arguments],
            cwd=tmp_path,
            env=environment(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=default_interrupt,
        )

    return start


def ended(process) -> tuple:
    """Status, output, and errors; none of its processes is left."""
    out, err = process.communicate(timeout=60)  # waits for all that may write to them
    return process.returncode, out, err


def pids(folder, count=2) -> list:
    """Numbers of the processes, once they run."""
    files = [folder / f'{rank}.pid' for rank in range(count)]
    while not all(file.exists() and file.read_text() for file in files):
        time.sleep(0.01)
    return [int(file.read_text()) for file in files]


def shown(start, *arguments, **env):
    status, out, err = ended(start(*arguments, 'show', **env))
    assert (status, err) == (0, '')
    return sorted(out.splitlines())


def test_variables_of_one_machine(start):
    words = "['--launcher', 'pytorch', 'c.py', '--work-dir', 'a b', 'show']"
    found = shown(start, '2', 'c.py', '--work-dir', 'a b', PORT='4321', OMP_NUM_THREADS='7')
    assert found == [f'{rank} {rank} 2 2 127.0.0.1 4321 7 {words}' for rank in '01']


def test_variables_of_several_machines(start, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS')
    cores = max(1, os.cpu_count() // 2)
    machines = dict(NNODES='3', NODE_RANK='1', MASTER_ADDR='10.0.0.1')
    found = [line.split(' [')[0] for line in shown(start, '2', **machines)]
    assert found == [f'{2 + rank} {rank} 6 2 10.0.0.1 29500 {cores}' for rank in (0, 1)]


@pytest.mark.parametrize('count', ['0', '-1', 'two', '', '1.5'])
def test_bad_process_counts(count):
    done = run(sys.executable, DIST_RUN, 'train.py', count)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr == f'error: "{count}" processes: give a number from 1, one per GPU\n'


@pytest.mark.parametrize('case', ['all fail', 'one fails'])
def test_an_error_is_said_once(start, case):
    assert ended(start('2', case)) == (1, '', 'error: bad config\n')


def test_a_bug_keeps_its_traceback(start):
    status, out, err = ended(start('2', 'bug'))
    assert (status, err.count('ZeroDivisionError')) == (1, 1) and 'error: ' not in err


@pytest.mark.parametrize('number, name', [(signal.SIGINT, 'Ctrl-C'), (signal.SIGTERM, 'SIGTERM')])
@pytest.mark.parametrize('whole', [True, False], ids=['group', 'launcher'])
def test_an_interrupt_is_said_once(start, tmp_path, number, name, whole):
    process = start('2', 'wait')
    pids(tmp_path)
    (os.killpg if whole else os.kill)(process.pid, number)
    status, out, err = ended(process)
    assert (status, out) == (128 + number, '')
    name = name if whole else 'SIGTERM'  # which it sends
    assert err == f'error: interrupted by {name}; go on\n'


@pytest.mark.parametrize('rank', [0, 1])
def test_a_killed_process_ends_the_others(start, tmp_path, rank):
    process = start('2', 'wait')
    os.kill(pids(tmp_path)[rank], signal.SIGKILL)
    assert ended(process) == (1, '', f'error: rank {rank} was ended by SIGKILL\n')


@pytest.mark.skipif(sys.platform != 'linux', reason='the kernel tells processes of it')
def test_a_killed_launcher_leaves_no_process(start, tmp_path):
    process = start('2', 'wait')
    pids(tmp_path)
    process.kill()
    status, out, err = ended(process)
    assert (status, out) == (-signal.SIGKILL, '')
    assert set(err.splitlines()) == {'error: interrupted by SIGTERM; go on'}
