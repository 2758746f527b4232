"""One process at a time writes a ``.part`` file."""

import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Iterator

try:
    import fcntl
except ImportError:  # Windows: there downloads of one file are not guarded
    fcntl = None


@contextmanager
def hold_part(part: Path) -> Iterator[None]:
    """Hold ``part`` for this process; others wait here until it is let go.

    The lock is on the ``.part`` file itself, so it leaves no lock file
    behind, and a killed process lets go of it. A ``.part`` that is still
    empty at the end is removed.

    Raises:
        OSError: If the file can not be made.
    """
    handle = None if fcntl is None else _lock(part)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            if part.stat().st_size == 0:
                part.unlink()
        if handle is not None:
            handle.close()


def _lock(part: Path) -> IO[bytes]:
    while True:
        handle = open(part, 'ab')
        try:
            _wait_for(handle, part)
        except OSError:
            # Some network file systems know no locks: go on without.
            return handle
        # While this one waited, the holder may have given the file its
        # final name or removed it: then the lock is on the wrong file.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle.fileno()), os.stat(part)):
                return handle
        handle.close()


def _wait_for(handle: IO[bytes], part: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f'another process is downloading {part}: waiting for it', file=sys.stderr)
        fcntl.flock(handle, fcntl.LOCK_EX)
