"""Ctrl-C and SIGTERM in the midst of the tools' work: one line, and no temporary file."""

import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from run import DIGITS, QUICK, WEIGHTS, failed, tool

INT, TERM = signal.SIGINT, signal.SIGTERM
NAMES = {INT: 'Ctrl-C', TERM: 'SIGTERM'}
GO_ON = 'add --resume to go on from the last checkpoint'


@pytest.fixture
def config(tmp_path):
    """The digits recipe, which leaves a file as soon as it is read."""
    path = tmp_path / 'config.py'
    read = f'__import__("pathlib").Path({str(tmp_path / "read")!r}).touch()'
    path.write_text(f'_base_ = {str(DIGITS)!r}\n{read}\n')
    return path


def check(done, number, again='start it again', processes=1):
    said = f'error: interrupted by {NAMES[number]}; {again}\n'
    assert (done.stderr, done.returncode) == (said * processes, 128 + number)


@pytest.mark.parametrize(
    'name, flags, number',
    [
        ('test.py', ['--out', 'FOLDER/p.pkl', '--work-dir', 'FOLDER'], INT),
        ('calibrate_exits.py', ['--max-drop', '1', '--out', 'FOLDER/p.json'], TERM),
        ('analysis_tools/plot_exits.py', ['--out', 'FOLDER'], INT),
        ('deploy/export_onnx.py', ['--out', 'FOLDER/m.onnx'], TERM),
        ('deploy/export_onnx.py', ['--out', 'FOLDER/m.onnx', '--int8'], INT),
        ('model_converters/export_student.py', ['--out', 'FOLDER'], TERM),
    ],
)
def test_tools_that_take_a_config(config, tmp_path, name, flags, number):
    flags = [flag.replace('FOLDER', str(tmp_path / 'out')) for flag in flags]
    done = tool(name, config, WEIGHTS, *flags, kill=(tmp_path / 'read', number, [0]))
    check(done, number)
    assert {path.suffix for path in tmp_path.rglob('*') if path.is_file()} <= {'.py', '.log', ''}


def test_a_download(tmp_path):
    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header('Content-Length', str(WEIGHTS.stat().st_size))
            self.end_headers()
            self.wfile.write(WEIGHTS.read_bytes()[:1000])
            ended.wait(60)

        def log_message(self, *_):
            pass

    ended = threading.Event()
    server = ThreadingHTTPServer(('127.0.0.1', 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root, dest = tmp_path / 'root', tmp_path / 'dest'
    root.mkdir()
    url = f'http://127.0.0.1:{server.server_port}/{WEIGHTS.name}'
    (root / 'model-index.yml').write_text('Import: [metafile.yml]')
    (root / 'metafile.yml').write_text(f'Models: [{{Name: net, Weights: "{url}"}}]')
    program = tmp_path / 'model_zoo.py'
    program.write_text(
        'import sys; from pathlib import Path\n'
        'from mmrazor_byot import zoo, command\n'
        'command.catch_signals()\n'
        f'zoo.find_root = lambda: Path({str(root)!r})\n'
        f'command.run_command(lambda: zoo.download("net", {str(dest)!r}, progress=False))\n'
    )
    done = tool(program, kill=(dest / '*.tmp', TERM, [0]))
    ended.set()
    server.shutdown()
    check(done, TERM)
    assert not dest.exists()


def train(work_dir, **settings):
    options = *QUICK, 'train_dataloader.dataset.indices=256', 'train_cfg.val_interval=100'
    words = DIGITS, '--work-dir', work_dir, *settings.pop('flags', ()), '--cfg-options', *options
    return tool('train.py', *words, MKL_NUM_THREADS='1', **settings)


@pytest.mark.parametrize('number', [INT, TERM])
def test_training(tmp_path, number):
    done = train(tmp_path, kill=(tmp_path / 'epoch_1.pth', number, [0]))
    check(done, number, GO_ON)
    assert not list(tmp_path.rglob('*.tmp'))


def test_training_on_two_processes(tmp_path):
    kill = tmp_path / 'epoch_1.pth', TERM, [0, 1]
    done = train(tmp_path, ranks=2, flags=['--launcher', 'pytorch'], kill=kill)
    check(done, TERM, GO_ON, processes=2)
    assert not list(tmp_path.rglob('*.tmp'))


@pytest.mark.parametrize('rank', [0, 1])
def test_a_process_that_is_killed(tmp_path, rank):
    """The other one is not left waiting."""
    kill = tmp_path / 'epoch_1.pth', signal.SIGKILL, [rank]
    done = train(tmp_path, ranks=2, flags=['--launcher', 'pytorch'], kill=kill)
    assert done.returncode == -signal.SIGKILL
    assert failed(done) in (
        'error: another process of this run has ended; see its output',
        f'error: interrupted by SIGTERM; {GO_ON}',  # by the launcher
    )
    assert 'Traceback' not in done.stderr
