"""How a command ends: errors and signals are one line."""

import os
import signal
import subprocess
import sys

import pytest
from run import default_interrupt, environment
from torch._utils import ExceptionWrapper

from mmrazor_byot.command import run_command
from mmrazor_byot.errors import DatasetError
from mmrazor_byot.files import write_bytes


def said(capsys, error) -> str:
    """What a command prints that fails by an error, or does what fails."""

    def main():
        print('working')
        if callable(error):
            error()
        raise error

    with pytest.raises(SystemExit, match='^1$'):
        run_command(main)
    out, err = capsys.readouterr()
    assert out == 'working\n' and err.startswith('error: ') and err.count('\n') == 1
    return err[7:-1]


def test_errors_of_input_are_one_line(capsys):
    assert said(capsys, DatasetError('the set\nis empty')) == 'the set; is empty'


def test_errors_of_workers_are_one_line(capsys):
    """torch adds the traceback of the worker."""
    for error, line in [
        (DatasetError('image "a.png" is truncated'), 'image "a.png" is truncated'),
        (OSError(24, 'Too many open files', 'a.png'), "[Errno 24] Too many open files: 'a.png'"),
    ]:
        try:
            raise error
        except (DatasetError, OSError):
            wrapped = ExceptionWrapper(where='in DataLoader worker process 0')
        assert said(capsys, wrapped.reraise) == line


@pytest.mark.parametrize('error', [ZeroDivisionError(), FileNotFoundError(2, 'No', 'a'), OSError()])
def test_bugs_keep_their_traceback(error):
    def main():
        raise error

    with pytest.raises(type(error)):
        run_command(main)
    assert run_command(lambda: None) is None


def write(path):
    with open(path, 'wb') as file:
        file.write(bytes(5000))


def test_a_full_disk_is_named_with_the_file(capsys, disk):
    """Whoever writes to it, and though the error does not name the file."""
    folder, limit = disk(0)
    if limit:
        pytest.skip('no disk can be mounted here')
    full = f'cannot write "{folder}/a": No space left on device'
    assert said(capsys, lambda: write(folder / 'a')) == full
    assert said(capsys, lambda: write_bytes(folder / 'a', bytes(5000))) == full


@pytest.mark.parametrize(
    'error, line',
    [
        (OSError(122, 'Disk quota exceeded'), 'cannot write: Disk quota exceeded'),
        (PermissionError(13, 'Permission denied', 'a.pth'), 'cannot open "a.pth": Permission'),
        (OSError(24, 'Too many open files', 'a.png'), 'cannot open "a.png": Too many open'),
    ],
)
def test_errors_of_the_system(capsys, error, line):
    assert said(capsys, error).startswith(line)


def test_torchrun_hears_it_once(capsys, monkeypatch, tmp_path):
    """Of all processes, and of all its restarts."""
    for attempt in range(3):
        for rank in range(2):
            folder = tmp_path / f'run/attempt_{attempt}/{rank}'
            folder.mkdir(parents=True)
            monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(folder / 'error.json'))
            with pytest.raises(SystemExit):
                run_command(lambda: write_bytes('/dev/null', b''))
    assert (
        capsys.readouterr().err == 'error: cannot write "/dev/null": it is a device, not a file\n'
    )


PROGRAM = """
import os, sys, time
from mmrazor_byot.command import catch_signals, run_command
from mmrazor_byot.files import atomic_path
def main():
    with atomic_path(sys.argv[2]) as temporary:
        temporary.write_bytes(b'half')
        try:
            print('ready', flush=True)
            time.sleep(60)
        finally:
            print('saved', flush=True)
            time.sleep(float(sys.argv[3]))
catch_signals('go on')
if sys.argv[1] == 'importing':
    print('ready', flush=True)
    time.sleep(60)
run_command(main)
"""


@pytest.fixture
def process(tmp_path):
    """Starts a command that writes a file; it is ready to be interrupted."""
    (tmp_path / 'a.bin').write_bytes(b'old')

    def start(phase, seconds=0):
        command = sys.executable, '-c', PROGRAM, phase, str(tmp_path / 'a.bin'), str(seconds)
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment({}),
            preexec_fn=default_interrupt,
        )
        assert process.stdout.readline() == 'ready\n'
        return process

    return start


SIGNALS = [(signal.SIGINT, 'Ctrl-C'), (signal.SIGTERM, 'SIGTERM')]


@pytest.mark.parametrize('number, name', SIGNALS)
def test_signals_are_one_line(process, tmp_path, number, name):
    """What was begun is ended, and no temporary file is left."""
    running = process('running')
    assert len(os.listdir(tmp_path)) == 2
    running.send_signal(number)
    line = f'error: interrupted by {name}; go on\n'
    assert running.communicate(timeout=30) == ('saved\n', line)
    assert running.returncode == 128 + number
    assert os.listdir(tmp_path) == ['a.bin'] and (tmp_path / 'a.bin').read_bytes() == b'old'


@pytest.mark.parametrize('number, name', SIGNALS)
def test_signals_while_it_imports(process, number, name):
    running = process('importing')
    running.send_signal(number)
    assert running.communicate(timeout=30) == ('', f'error: interrupted by {name}; go on\n')
    assert running.returncode == -number


def test_a_sigterm_after_ctrl_c_does_not_disturb(process, tmp_path):
    """Launchers send it; a second Ctrl-C ends the process at once."""
    running = process('running', 1)
    running.send_signal(signal.SIGINT)
    assert running.stdout.readline() == 'saved\n'
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=30)[1] == 'error: interrupted by Ctrl-C; go on\n'
    running = process('running', 60)
    running.send_signal(signal.SIGINT)
    assert running.stdout.readline() == 'saved\n'
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=30) == -signal.SIGINT
