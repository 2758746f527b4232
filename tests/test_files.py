"""Files that are written whole or not at all, and lists of images."""

import os
import subprocess

import pytest

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.files import atomic_path, check_writable, list_images, sha256, write_bytes
from mmrazor_byot.runtime.images import read_image


def test_all_images_of_a_folder(tmp_path):
    taken = ['B.PNG', 'a.jpg', 'deep/er/c.Tiff', 'x.png/d.webp', 'x.png/e.jpeg', 'z.pgm']
    left = ['.a.jpg', '.cache/b.png', 'deep/._c.tif', 'notes.txt', 'png', 'a.png.txt']
    for name in taken + left:
        path = tmp_path / 'in' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere' / 'f.png').touch()
    links = dict(linked='../elsewhere', **{'link.png': '../elsewhere/f.png', 'gone.bmp': 'nowhere'})
    for name, target in links.items():
        (tmp_path / 'in' / name).symlink_to(target)
    expected = sorted(str(tmp_path / 'in' / n) for n in (*taken, 'link.png', 'gone.bmp'))
    assert list_images([tmp_path / 'in']) == expected
    with pytest.raises(DatasetError, match=r'gone\.bmp" does not exist'):
        read_image(tmp_path / 'in' / 'gone.bmp')


def test_files_are_taken_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('.hidden.png', 'data.bin', 'folder/b.png', 'folder/a.png'):
        os.makedirs(os.path.dirname(name) or '.', exist_ok=True)
        (tmp_path / name).touch()
    found = list_images(['data.bin', 'folder', tmp_path / '.hidden.png', 'data.bin'])
    inside = ['folder/a.png', 'folder/b.png']
    assert found == ['data.bin', *inside, str(tmp_path / '.hidden.png'), 'data.bin']
    assert list_images([]) == []


def test_images_that_are_not_there(tmp_path):
    for name in ('empty/.hidden', 'empty/sub'):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / 'broken.png').symlink_to('nowhere.png')
    for name, reason in (
        ('empty', 'has no images; .* .tiff .webp'),
        ('gone.png', 'does not exist'),
        ('broken.png', 'does not exist'),
    ):
        with pytest.raises(DatasetError, match=f'{name}" {reason}'):
            list_images([tmp_path, tmp_path / name])


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_bytes_are_written(tmp_path):
    path = tmp_path / 'new' / 'er' / 'a.bin'
    for target, data in ((path, b'old'), (str(path), b'')):
        write_bytes(target, data)
        assert contents(path.parent) == {'a.bin': data}


def fail(path, *_, **__):
    raise OSError(28, 'No space left', str(path))


@pytest.mark.parametrize('step', ['os.replace', 'pathlib.Path.write_bytes', 'pathlib.Path.mkdir'])
def test_a_failed_writing_changes_nothing(tmp_path, monkeypatch, step):
    path = tmp_path / 'a.bin'
    path.write_bytes(b'old')
    monkeypatch.setattr(step, fail)
    with pytest.raises(ConfigError, match=r'cannot write ".*a\.bin": No space left'):
        write_bytes(path, b'new')
    assert contents(tmp_path) == {'a.bin': b'old'}


@pytest.mark.parametrize(
    'name, reason',
    [
        ('folder', 'a folder'),
        ('file/new/a.bin', 'file" is not a folder'),
        ('broken/new/a.bin', 'broken" is not a folder'),
    ],
)
def test_where_nothing_can_be_written(tmp_path, name, reason):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_bytes(b'old')
    (tmp_path / 'broken').symlink_to('nowhere')
    before = sorted(tmp_path.rglob('*'))
    for write in (check_writable, lambda path: write_bytes(path, b'new')):
        with pytest.raises(ConfigError, match=f'cannot write ".*{name}": .*{reason}'):
            write(tmp_path / name)
    assert sorted(tmp_path.rglob('*')) == before and (tmp_path / 'file').read_bytes() == b'old'


def test_whether_a_file_can_be_written(tmp_path, monkeypatch):
    (tmp_path / 'old').touch()
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / 'old', 'old', 'new', 'a/b/c/new', tmp_path / 'a' / 'new'):
        check_writable(path)
    assert os.listdir() == ['old']
    with pytest.raises(ConfigError, match='cannot write "/dev/null": it is a device'):
        check_writable('/dev/null')


def test_a_full_disk_and_one_that_is_read_only(disk):
    folder, _ = disk(0)
    for name, is_folder in ((folder / 'a.bin', False), (folder / 'new', True), (folder, True)):
        with pytest.raises(ConfigError, match=f'cannot write "{name}": No space left on device'):
            check_writable(name, is_folder)
    subprocess.run(['mount', '-o', 'remount,ro', folder], check=True)
    with pytest.raises(ConfigError, match=f'cannot write "{folder}/a": Read-only file system'):
        check_writable(folder / 'a')


def test_what_killed_processes_left_is_removed(tmp_path):
    """Of the same file, and not what a process that runs is writing."""
    with subprocess.Popen(['true']) as process:
        pass  # its number is free now
    kept = {f'a.bin.{os.getppid()}.tmp', f'b.bin.{process.pid}.tmp', 'a.bin.tmp', 'a.bin.x.tmp'}
    left = {f'a.bin.{process.pid}{end}' for end in ('.tmp', '.tmp.5d.partial')}
    for name in kept | left:
        (tmp_path / name).touch()
    write_bytes(tmp_path / 'a.bin', b'new')
    assert set(os.listdir(tmp_path)) == kept | {'a.bin'}


@pytest.mark.parametrize(
    'error, expected',
    [
        (ValueError('mine'), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(28, 'No space left'), ConfigError),
        (ConnectionResetError(104, 'Connection reset by peer'), ConnectionResetError),
        (FileNotFoundError(2, 'No such file', 'another'), FileNotFoundError),
    ],
)
def test_what_goes_wrong_while_a_file_is_written(tmp_path, error, expected):
    path = tmp_path / 'a.bin'
    path.write_bytes(b'old')
    with pytest.raises(expected) as raised, atomic_path(path) as temporary:
        assert temporary.parent == tmp_path and temporary != path
        temporary.write_bytes(b'half')
        raise error
    assert raised.value is error or raised.value.__cause__ is error
    assert contents(tmp_path) == {'a.bin': b'old'}


def test_an_error_about_the_temporary_file_names_the_file(tmp_path):
    with (
        pytest.raises(ConfigError, match=r'/gone/a\.bin": No such file'),
        atomic_path(tmp_path / 'gone' / 'a.bin') as temporary,
    ):
        temporary.parent.rmdir()
        temporary.write_bytes(b'new')


def test_folders_that_were_made_go_again(tmp_path):
    (tmp_path / 'there').mkdir()
    with pytest.raises(ValueError, match='mine'), atomic_path(tmp_path / 'there/a/b/c.bin') as path:
        path.write_bytes(b'half')
        raise ValueError('mine')
    assert list((tmp_path / 'there').iterdir()) == []
    with atomic_path(tmp_path / 'there/a/b/c.bin') as path:
        path.write_bytes(b'whole')
    assert (tmp_path / 'there/a/b/c.bin').read_bytes() == b'whole'


@pytest.mark.parametrize(
    'data, expected',  # of FIPS 180-2, Appendix B.1 and B.3, and of nothing
    [
        (b'abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'),
        (b'a' * 1_000_000, 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'),
        (b'', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'),
    ],
)
def test_sha256(tmp_path, data, expected):
    (tmp_path / 'a').write_bytes(data)
    assert sha256(tmp_path / 'a') == sha256(str(tmp_path / 'a')) == expected
