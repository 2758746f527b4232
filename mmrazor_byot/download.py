"""Download files, which get their name only when they are whole."""

import os
import re
import threading
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Iterator, Optional
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import torch.hub
from mmengine.dist import all_gather_object, is_distributed

from .errors import CheckpointError
from .files import PathLike, atomic_path, sha256

TIMEOUT_S = 30  # to connect, and between two blocks of data
_LOCK = threading.Lock()  # the threads of a process share the name of the temporary file
#: Dates, times and counters are not hashes, although a hash could look like one.
_NUMBER = r'(?:(?:19|20)\d\d[01]\d[0-3]\d|000|\d{9})\d*\.'
_HASH = re.compile(rf'-(?!{_NUMBER})([0-9a-fA-F]{{8,64}})\.\w+$')


def hash_in_name(file_name: str) -> str:
    """The first digits of the sha256, as in ``net-0251084e.pth``; empty if there are none."""
    found = _HASH.search(file_name)
    return found.group(1).lower() if found else ''


def name_in_url(url: str) -> str:
    """The name of the file of a URL; empty if it has none."""
    return PurePosixPath(unquote(urlsplit(url).path)).name


def download(
    url: str,
    file: PathLike,
    progress: bool = True,
    check: Optional[Callable[[Path], object]] = None,
) -> None:
    """Download a file, unless it exists and has the sha256 that its name carries, if it does.

    Args:
        url (str): What to download.
        file (str | Path): Where to; its folder is created. A file gets this name when it is whole
            and has that sha256; until then an existing one is not changed.
        progress (bool): Whether to show a progress bar on stderr. Defaults to True.
        check (Callable, optional): Called with the temporary file before it gets its name.

    Raises:
        CheckpointError: The file cannot be downloaded, or is damaged or truncated.
        ConfigError: It cannot be written.
    """
    file = Path(file)
    expected = hash_in_name(file.name)
    with _LOCK:
        if file.is_file() and sha256(file).startswith(expected):
            return
        with atomic_path(file) as temporary:
            with open(temporary, 'wb') as f:
                for block in _read(url, progress):
                    f.write(block)
            digest = sha256(temporary)
            if not digest.startswith(expected):
                raise CheckpointError(
                    f'{url} is damaged or truncated: its sha256 is {digest}, not {expected}...'
                )
            if check:
                check(temporary)


def _read(url: str, progress: bool) -> Iterator[bytes]:
    request, size = Request(url, headers={'User-Agent': 'mmrazor_byot'}), 0
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            length = int(answer.headers.get('Content-Length') or -1)
            bar: Any = torch.hub.tqdm(  # type: ignore[attr-defined]
                total=max(length, 0), disable=not progress, unit='B', unit_scale=True
            )
            with bar:
                while block := answer.read(1 << 20):
                    size += len(block)
                    bar.update(len(block))
                    yield block
    except (OSError, HTTPException, ValueError) as e:
        raise CheckpointError(f'cannot fetch {url} ({" ".join(str(e).split())[:200]})') from e
    if length not in (-1, size):
        raise CheckpointError(f'{url} is damaged or truncated: {size} of {length} bytes arrived')


def once_per_node(work: Callable[[], object]) -> None:
    """Let the first process of each node do something that all processes then use.

    The others wait, at most for the timeout of the process group. If one fails, all raise that
    error.
    """
    error: Optional[Exception] = None
    if not is_distributed() or int(os.getenv('LOCAL_RANK', '0')) == 0:
        try:
            work()
        except Exception as e:
            error = e
    errors = [e for e in all_gather_object(error) if e is not None]
    if errors:
        raise error or errors[0]
