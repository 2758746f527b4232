"""Downloads that arrive, and downloads that bring something else."""

import shutil
import socket
import time
from threading import Thread

import pytest
import torch

from mmrazor_byot.zoo import ZooError, download, transfer
from mmrazor_byot.zoo.address import cache_dir, hash_in_name

GOOD = bytes(range(256)) * 800
BAD = GOOD[:-1] + b'!'


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transfer, 'PAUSE', 0)
    monkeypatch.setattr(transfer, 'TIMEOUT', 5)


@pytest.fixture
def dest(tmp_path):
    return tmp_path / 'dest'


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_arrives_whole_and_is_not_fetched_again(zoo, server, dest):
    name = zoo.publish('net', GOOD, server)
    file = download('net', dest)
    assert file == dest / name
    assert file.read_bytes() == GOOD
    assert names_in(dest) == [name]
    assert download('net', dest) == file
    assert server.sent == [len(GOOD)]


def test_length_need_not_be_told(zoo, server, dest):
    server.tells_length = False
    zoo.publish('net', GOOD, server)
    assert download('net', dest).read_bytes() == GOOD


def test_default_is_the_cache(zoo, server, tmp_path):
    name = zoo.publish('net', GOOD, server)
    assert download('net') == tmp_path / 'cache' / name


def test_cache_is_in_torchs_hub_folder(monkeypatch, tmp_path):
    monkeypatch.delenv('MMRAZOR_BYOT_HOME', raising=False)
    for variable in ('TORCH_HOME', 'XDG_CACHE_HOME'):
        monkeypatch.delenv('TORCH_HOME', raising=False)
        monkeypatch.setenv(variable, str(tmp_path / variable))
        assert str(cache_dir()) == f'{torch.hub.get_dir()}/mmrazor_byot'
        assert str(cache_dir()).startswith(str(tmp_path / variable))


def test_progress_is_shown_on_stderr(zoo, server, dest, capsys):
    name = zoo.publish('net', GOOD, server)
    download('net', dest)
    out, err = capsys.readouterr()
    assert out == ''
    assert name in err.replace('\n', '')
    shutil.rmtree(dest)
    download('net', dest, progress=False)
    assert capsys.readouterr().err == ''


def test_wrong_content_never_gets_the_name(zoo, server, dest):
    name = zoo.publish('net', GOOD, server)
    server.files[f'/v1/{name}'] = BAD
    with pytest.raises(ZooError, match='is damaged: the sha256 of its 204800'):
        download('net', dest)
    assert names_in(dest) == []


def test_wrong_content_leaves_what_was_there(zoo, server, dest):
    name = zoo.publish('net', GOOD, server)
    server.files[f'/v1/{name}'] = BAD
    dest.mkdir()
    (dest / name).write_bytes(GOOD)
    download('net', dest)
    assert server.requests == []  # a good file: nothing to ask for
    (dest / name).write_bytes(b'old and bad')
    with pytest.raises(ZooError, match='its name says'):
        download('net', dest)
    assert (dest / name).read_bytes() == b'old and bad'
    assert names_in(dest) == [name]


def test_bad_file_is_replaced_by_a_good_one(zoo, server, dest):
    name = zoo.publish('net', GOOD, server)
    dest.mkdir()
    (dest / name).write_bytes(BAD)
    assert download('net', dest).read_bytes() == GOOD
    assert names_in(dest) == [name]


@pytest.mark.parametrize('kind', ['folder', 'file', 'http', 'environment'])
def test_mirror_has_the_file_under_its_name(zoo, server, dest, tmp_path, kind, monkeypatch):
    name = zoo.publish('net', GOOD, server)
    mirror = tmp_path / 'a mirror'
    mirror.mkdir()
    (mirror / name).write_bytes(GOOD)
    server.files = {f'/m/{name}': GOOD}
    bases = dict(folder=mirror, file=mirror.as_uri(), http=f'{server.url}/m/')
    if kind == 'environment':
        monkeypatch.setenv('MMRAZOR_BYOT_MIRROR', mirror.as_uri())
    assert download('net', dest, bases.get(kind)).read_bytes() == GOOD
    paths = [request['path'] for request in server.requests]
    assert paths == ([f'/m/{name}'] if kind == 'http' else [])


def test_bad_mirror(zoo, server, dest, tmp_path):
    name = zoo.publish('net', GOOD, server)
    (tmp_path / name).write_bytes(BAD)
    with pytest.raises(ZooError, match='file:///.* is damaged'):
        download('net', dest, tmp_path)
    with pytest.raises(ZooError, match='there is no file file:///nowhere/'):
        download('net', dest, '/nowhere')
    with pytest.raises(ZooError, match='can not fetch ftp://a/'):
        download('net', dest, 'ftp://a')
    with pytest.raises(ZooError, match="'http://.a/net.*' is no address"):
        download('net', dest, 'http://[a')
    with pytest.raises(ZooError, match='can not reach http://a:b/'):
        download('net', dest, 'http://a:b')
    assert names_in(dest) == []


def test_shipped_file_is_taken_from_the_project(zoo, server, dest):
    name = zoo.publish('net', GOOD, server)
    zoo.models[0]['Weights'] = f'configs/some net/{name}'
    zoo.write()
    with pytest.raises(ZooError, match='there is no file file:///.*some%20n'):
        download('net', dest)
    (zoo.root / 'configs/some net').mkdir(parents=True)
    (zoo.root / 'configs/some net' / name).write_bytes(GOOD)
    assert download('net', dest, server.url).read_bytes() == GOOD
    assert server.requests == []


def test_weights_that_can_not_be_had(zoo, dest):
    zoo.add('planned', Config='configs/planned.py')
    zoo.add('unhashed', Weights='https://a.invalid/unhashed.pth')
    with pytest.raises(ZooError, match='no weights of planned are published'):
        download('planned', dest)
    with pytest.raises(ZooError, match='unhashed.pth can not be checked'):
        download('unhashed', dest)
    assert not dest.exists()


def test_server_says_no(zoo, server, dest):
    zoo.publish('net', GOOD, server)
    server.files.clear()
    with pytest.raises(ZooError, match='answered 404 Not Found: check'):
        download('net', dest)
    assert len(server.requests) == 1  # no use in asking again
    assert names_in(dest) == []


def test_offline(zoo, server, dest):
    zoo.publish('net', GOOD, server)
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))  # bound, but it does not listen
        base = f'http://127.0.0.1:{unused.getsockname()[1]}'
        with pytest.raises(ZooError) as caught:
            download('net', dest, base)
    message = str(caught.value)
    assert message.startswith(f'can not reach {base}/net-')
    assert 'Connection refused' in message
    assert '--mirror BASE' in message
    assert '\n' not in message
    assert names_in(dest) == []


def test_folder_that_can_not_be_written(zoo, server, dest):
    name = zoo.publish('net', GOOD, server)
    dest.write_text('a file')
    with pytest.raises(ZooError, match=f'can not write {dest}/.*--dest DIR'):
        download('net', dest)
    dest.unlink()
    (dest / name).mkdir(parents=True)
    with pytest.raises(ZooError, match='can not write .*Is a directory'):
        download('net', dest)


def test_two_at_once_fetch_once(zoo, server, dest, capfd):
    name = zoo.publish('net', GOOD, server)
    server.delay = 0.05
    found = []
    threads = [
        Thread(target=lambda: found.append(download('net', dest, None, False))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert found == [dest / name] * 2
    assert server.sent == [len(GOOD)]
    assert names_in(dest) == [name]
    assert (dest / name).read_bytes() == GOOD
    assert 'another process is downloading' in capfd.readouterr().err


def test_hash_in_name():
    assert hash_in_name('a_20220817_191217-0251084e.pth') == '0251084e'
    assert hash_in_name('a-0251084E99.pth') == '0251084e99'
    for name in (
        'a.pth',
        'a-0251084.pth',
        'a-0251084g.pth',
        '0251084e.pth',
        'a-0251084e',
        'a-0251084e.pth.part/x',
    ):
        assert hash_in_name(name) is None
