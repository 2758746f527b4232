"""A server of files on this machine."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.files``."""

    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header('Content-Length', len(body))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])
        if self.server.silent:
            self.server.end.wait()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """Answers break off after ``cut`` bytes, and stay ``silent`` then until the ``end``."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as running:
        running.url = f'http://127.0.0.1:{running.server_port}'
        running.files, running.asked = {}, []
        running.cut, running.silent, running.end = None, False, Event()
        Thread(target=running.serve_forever, args=(0.01,)).start()
        yield running
        running.end.set()
        running.shutdown()
