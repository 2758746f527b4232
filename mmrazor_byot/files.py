"""Write files atomically, hash them, and list images."""

import contextlib
import hashlib
import os
import signal
import sys
from pathlib import Path
from typing import Iterator, List, Sequence, Union

from .errors import ConfigError, DatasetError

PathLike = Union[str, 'os.PathLike[str]']

#: Endings of image files in a folder, in lower or upper case.
IMAGE_ENDINGS = ('.bmp', '.gif', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Give a temporary path in the folder of a file, and rename it to the file at the end.

    Missing folders are created. On an error these and the temporary file are removed, and an
    existing file is not changed.

    Raises:
        ConfigError: The file cannot be written.
    """
    path = Path(path)
    check_writable(path)
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
        made = []
    except OSError as e:
        about = str(path if e.filename is None else e.filename)
        if not about.startswith(str(temporary)) and not path.is_relative_to(about):
            raise  # about another file
        raise ConfigError(f'cannot write "{path}": {e.strerror or e}') from e
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write a file, see :func:`atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: PathLike, text: str) -> None:
    """Write text in UTF-8, see :func:`atomic_path`."""
    write_bytes(path, text.encode('utf-8'))


def check_writable(path: PathLike) -> None:
    """Raise a :class:`ConfigError` if a file cannot be written, before the work for its content."""
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f'cannot write "{path}": it is a folder; give the name of a file')
    folder = path.absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise ConfigError(f'cannot write "{path}": "{folder}" is not a folder')
    if not os.access(folder, os.W_OK):
        raise ConfigError(f'cannot write "{path}": no permission to write to "{folder}"')


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


def clean_up_on_sigterm() -> None:
    """Raise SystemExit on SIGTERM, so that temporary files are removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
