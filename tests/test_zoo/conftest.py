"""A zoo in a folder, and a web server that misbehaves on demand."""

import hashlib
import os
import shutil
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

import mmrazor_byot
from mmrazor_byot.zoo import index


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.files``; what else it does, the server says."""

    def do_GET(self):
        server = self.server
        body = server.files.get(self.path)
        wanted = self.headers.get('Range')
        record = dict(path=self.path, range=wanted, sent=0)
        server.requests.append(record)
        if server.answers:
            self.answer(*server.answers.pop(0))
        elif body is None:
            self.answer(404, {})
        elif wanted and not server.ignores_range:
            self.answer_rest(body, int(wanted[len('bytes=') : -1]), record)
        else:
            length = {'Content-Length': len(body)}
            self.answer(200, length if server.tells_length else {})
            self.send_body(body, record)

    def answer_rest(self, body, start, record):
        length = len(body)
        if start >= length:
            self.answer(416, {'Content-Range': f'bytes */{length}'})
            return
        self.answer(
            206,
            {
                'Content-Length': length - start,
                'Content-Range': f'bytes {start}-{length - 1}/{length}',
            },
        )
        self.send_body(body[start:], record)

    def answer(self, status, headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def send_body(self, body, record):
        server = self.server
        end = server.cuts.pop(0) if server.cuts else len(body)
        for first in range(0, end, server.chunk):
            piece = body[first : min(first + server.chunk, end)]
            try:
                self.wfile.write(piece)
                self.wfile.flush()
            except OSError:
                return  # the client was killed
            record['sent'] += len(piece)
            time.sleep(server.delay)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    """The server of the tests.

    Attributes:
        files: Content by path, such as ``{'/a.pth': b'...'}``.
        answers: Status and headers of the next answers, instead of files.
        cuts: After how many bytes the next answers are cut.
        delay: Seconds between two pieces of ``chunk`` bytes.
        requests: Path, Range header and bytes sent, one for each request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files, self.answers, self.cuts, self.requests = {}, [], [], []
        self.ignores_range, self.tells_length = False, True
        self.chunk, self.delay = 1 << 14, 0

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server_port}'

    @property
    def sent(self):
        return [request['sent'] for request in self.requests]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with Server() as running:
        thread = Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


class Zoo:
    """A zoo in a folder that tests add models to."""

    def __init__(self, root):
        self.root = root
        self.models = []
        root.mkdir()
        (root / 'model-index.yml').write_text('Import: [metafile.yml]')
        self.write()

    def add(self, name, **entry):
        self.models.append(dict(Name=name, **entry))
        self.write()

    def publish(self, name, content, server):
        """Add a model whose checkpoint ``server`` has, return its file."""
        digest = hashlib.sha256(content).hexdigest()
        file_name = f'{name}-{digest[:8]}.pth'
        server.files[f'/v1/{file_name}'] = content
        self.add(name, Weights=f'{server.url}/v1/{file_name}')
        return file_name

    def write(self):
        text = yaml.safe_dump(dict(Models=self.models))
        (self.root / 'metafile.yml').write_text(text)


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """The zoo that the package sees, with a cache folder of its own."""
    made = Zoo(tmp_path / 'root')
    monkeypatch.setattr(index, 'find_root', lambda: made.root)
    monkeypatch.setenv('MMRAZOR_BYOT_HOME', str(tmp_path / 'cache'))
    monkeypatch.delenv('MMRAZOR_BYOT_MIRROR', raising=False)
    return made


class Malicious:
    """Creates a file when it is unpickled by a loader that runs code."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / 'the_code_ran'


@pytest.fixture
def malicious(marker):
    return Malicious(marker)


@pytest.fixture
def checkout(zoo, monkeypatch):
    """A checkout that programs can run in, with the zoo of the test."""
    package = Path(mmrazor_byot.__file__).parent
    shutil.copytree(
        package, zoo.root / 'mmrazor_byot', ignore=shutil.ignore_patterns('.mim', '__pycache__')
    )
    (zoo.root / 'tools').mkdir()
    tool = package.parent / 'tools/model_zoo.py'
    shutil.copy(tool, zoo.root / 'tools')
    monkeypatch.setenv('PYTHONPATH', str(zoo.root))
    monkeypatch.setenv('PYTHONDONTWRITEBYTECODE', '1')
    return zoo.root
