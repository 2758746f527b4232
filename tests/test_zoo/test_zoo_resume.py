"""Downloads that break off, and what the next one asks for."""

import signal
import subprocess
import sys
import time

import pytest

from mmrazor_byot.zoo import ZooError, download, transfer

GOOD = bytes(range(256)) * 800
LENGTH = len(GOOD)
CUT = 70_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transfer, 'PAUSE', 0)
    monkeypatch.setattr(transfer, 'TIMEOUT', 5)


@pytest.fixture
def dest(tmp_path):
    folder = tmp_path / 'dest'
    folder.mkdir()
    return folder


@pytest.fixture
def name(zoo, server):
    return zoo.publish('net', GOOD, server)


@pytest.fixture
def part(dest, name):
    return dest / f'{name}.part'


def check_arrived(dest, name):
    assert [path.name for path in dest.iterdir()] == [name]
    assert (dest / name).read_bytes() == GOOD


def ranges(server):
    return [request['range'] for request in server.requests]


def test_a_cut_line_is_taken_up_at_once(server, dest, name):
    server.cuts = [CUT, 10_000]
    download('net', dest)
    check_arrived(dest, name)
    assert server.sent == [CUT, 10_000, LENGTH - CUT - 10_000]
    assert ranges(server) == [None, f'bytes={CUT}-', f'bytes={CUT + 10_000}-']


def test_next_download_goes_on_from_the_break(server, dest, name, part, monkeypatch):
    monkeypatch.setattr(transfer, 'ATTEMPTS', 1)
    server.cuts = [CUT]
    with pytest.raises(ZooError) as caught:
        download('net', dest)
    assert f'({CUT} of {LENGTH} bytes came), {CUT} bytes are kept in ' in str(caught.value)
    assert [path.name for path in dest.iterdir()] == [part.name]
    assert part.read_bytes() == GOOD[:CUT]
    download('net', dest)
    check_arrived(dest, name)
    assert server.sent == [CUT, LENGTH - CUT]


def test_gives_up_in_the_end(server, dest, part):
    server.cuts = [100] * 9
    with pytest.raises(ZooError, match='broke off .400 of 204800 bytes came'):
        download('net', dest)
    assert part.read_bytes() == GOOD[:400]
    assert server.sent == [100] * 4


def test_killed_download_leaves_only_the_part(server, dest, name, part, checkout):
    server.chunk, server.delay = 4096, 0.05
    command = [sys.executable, 'tools/model_zoo.py', 'download', 'net', '--dest', dest]
    running = subprocess.Popen(command, cwd=checkout)
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size > CUT):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    assert [path.name for path in dest.iterdir()] == [part.name]
    kept = part.stat().st_size
    assert CUT < kept < LENGTH
    server.delay = 0
    download('net', dest)
    check_arrived(dest, name)
    assert server.sent[1] == LENGTH - kept


def test_server_without_ranges_starts_over(server, dest, name, part):
    part.write_bytes(b'?' * CUT)  # so that keeping it would show
    server.ignores_range = True
    download('net', dest)
    check_arrived(dest, name)
    assert ranges(server) == [f'bytes={CUT}-']
    assert server.sent == [LENGTH]


def test_part_that_is_whole_needs_no_bytes(server, dest, name, part):
    part.write_bytes(GOOD)
    download('net', dest)
    check_arrived(dest, name)
    assert server.sent == [0]


@pytest.mark.parametrize(
    'answer',
    [
        (416, {'Content-Range': f'bytes */{LENGTH}'}),
        (416, {}),
        (206, {'Content-Range': f'bytes 7-{LENGTH - 1}/{LENGTH}'}),
        (206, {}),
    ],
)
def test_part_that_does_not_fit_starts_over(server, dest, name, part, answer):
    part.write_bytes(b'?' * (LENGTH + 1))
    server.answers = [answer]
    download('net', dest)
    check_arrived(dest, name)
    assert ranges(server) == [f'bytes={LENGTH + 1}-', None]
    assert server.sent == [0, LENGTH]


def test_file_whose_length_changed_starts_over(server, dest, name, monkeypatch):
    server.files[f'/v1/{name}'] = b'old' * 50_000
    server.cuts = [CUT]

    def publish_again(_):
        server.files[f'/v1/{name}'] = GOOD

    monkeypatch.setattr(transfer.time, 'sleep', publish_again)
    download('net', dest)
    check_arrived(dest, name)
    # The middle one was asked for the rest, and then left alone.
    assert ranges(server) == [None, f'bytes={CUT}-', None]
    assert server.sent[2] == LENGTH


def test_part_of_another_file_is_thrown_away(dest, name, part):
    part.write_bytes(b'?' * CUT)
    with pytest.raises(ZooError, match='is damaged.*try again'):
        download('net', dest)
    assert list(dest.iterdir()) == []
    download('net', dest)
    check_arrived(dest, name)


def test_busy_server_is_asked_again(server, dest, name):
    server.answers = [(503, {}), (429, {})]
    download('net', dest)
    check_arrived(dest, name)
    server.answers = [(500, {})] * 4
    (dest / name).unlink()
    with pytest.raises(ZooError, match='the server answered 500'):
        download('net', dest)
    assert list(dest.iterdir()) == []


def test_silent_server_times_out(server, dest, part, monkeypatch):
    monkeypatch.setattr(transfer, 'TIMEOUT', 0.2)
    monkeypatch.setattr(transfer, 'ATTEMPTS', 2)
    server.chunk, server.delay = 1000, 1
    with pytest.raises(ZooError, match='broke off .*timed out.*2000 bytes'):
        download('net', dest)
    assert part.read_bytes() == GOOD[:2000]


def test_slow_server_is_waited_for(server, dest, name, monkeypatch):
    monkeypatch.setattr(transfer, 'TIMEOUT', 0.5)
    server.chunk, server.delay = LENGTH // 8, 0.1
    started = time.monotonic()
    download('net', dest)
    assert time.monotonic() - started > 0.5  # longer than the timeout
    check_arrived(dest, name)
