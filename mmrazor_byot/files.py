"""Write files atomically, hash them, and list images."""

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Iterator, List, Sequence, Union

from .errors import ConfigError, DatasetError

PathLike = Union[str, 'os.PathLike[str]']

#: Errors of a disk that cannot take more.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
#: Endings of image files in a folder, in lower or upper case.
IMAGE_ENDINGS = ('.bmp', '.gif', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Give a temporary path in the folder of a file, and rename it to the file at the end.

    Missing folders are created. On an error these and the temporary file are removed, and an
    existing file is not changed. What a process that was killed has left is removed by the next
    that writes the file.

    Raises:
        ConfigError: The file cannot be written.
    """
    path = Path(path)
    check_writable(path)
    _remove_leftovers(path)
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
        made = []
    except OSError as e:
        about = str(path if e.errno in DISK_ERRORS and e.filename is None else e.filename)
        if not about.startswith(str(temporary)) and not path.is_relative_to(about):
            raise  # about something else
        raise ConfigError(f'cannot write "{path}": {e.strerror or e}') from e
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of processes that no longer run."""
    name = re.compile(re.escape(path.name) + r'\.(\d+)\.tmp')
    names = os.listdir(path.parent) if path.parent.is_dir() else []
    for found in filter(None, map(name.match, names)):
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            path.with_name(found.string).unlink(missing_ok=True)
        except (OSError, OverflowError):
            pass  # another user's process, or a number that is not one


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write a file, see :func:`atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: PathLike, text: str) -> None:
    """Write text in UTF-8, see :func:`atomic_path`."""
    write_bytes(path, text.encode('utf-8'))


def check_writable(path: PathLike, is_folder: bool = False) -> None:
    """Raise a :class:`ConfigError` if a file, or one in a folder, cannot be written.

    Called before the work for its content; nothing is created.
    """
    path = Path(path)
    if path.is_dir() and not is_folder:
        raise ConfigError(f'cannot write "{path}": it is a folder; give the name of a file')
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ConfigError(f'cannot write "{path}": it is a device, not a file')
    folder = path.absolute() if is_folder else path.absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if is_folder and path.is_file():
        raise ConfigError(f'cannot write to "{path}": it is a file, not a folder')
    if not folder.is_dir():
        raise ConfigError(f'cannot write "{path}": "{folder}" is not a folder')
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b'0')  # a full disk still creates files
    except OSError as e:
        raise ConfigError(f'cannot write "{path}": {e.strerror or e}') from e


def read_json(path: PathLike, name: str) -> Any:
    """Read a JSON file, which error messages call ``name``.

    Raises:
        ConfigError: It cannot be read, or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as e:
        raise ConfigError(f'{name} cannot be read: {e.strerror or e}') from e
    except (ValueError, RecursionError) as e:  # also of bytes, and of numbers of 5,000 digits
        raise ConfigError(f'{name} is truncated or not JSON ({e})') from e


def sha256(path: PathLike) -> str:
    """The sha256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def list_images(paths: Sequence[PathLike]) -> List[str]:
    """Replace folders by all image files in them and in their subfolders, sorted by path.

    Hidden files and folders are skipped, and links to folders are not followed; files that are
    named are returned as they are.

    Raises:
        DatasetError: A path does not exist, or a folder has no images.
    """
    files: List[str] = []
    for path in (os.fspath(item) for item in paths):
        if not os.path.exists(path):
            raise DatasetError(f'image "{path}" does not exist; check the path')
        found = sorted(_images_in(path)) if os.path.isdir(path) else [path]
        if not found:
            endings = ' '.join(IMAGE_ENDINGS)
            raise DatasetError(
                f'folder "{path}" has no images; their names end in one of {endings}'
            )
        files += found
    return files


def _images_in(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith('.')]
        for name in names:
            if name.lower().endswith(IMAGE_ENDINGS) and not name.startswith('.'):
                yield os.path.join(parent, name)
