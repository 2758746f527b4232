"""Move the bytes of one address into a ``.part`` file, resuming if it can.

Nothing here knows about hashes or final names: a whole ``.part`` is all that
it promises.
"""

import os
import re
import time
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any, Callable, Optional, Tuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, url2pathname, urlopen

from ..errors import ZooError
from .address import MIRROR_HINT

CHUNK = 1 << 16  # bytes
TIMEOUT = 30.0  # seconds without any byte, and to connect
ATTEMPTS = 4
PAUSE = 1.0  # seconds before the second attempt, doubled for each further one
# Answers that a server gives when it is busy, not when it has no such file.
PASSING = (408, 425, 429, 500, 502, 503, 504)

# Called with the bytes so far and the whole length, None if not known.
Report = Callable[[int, Optional[int]], None]


class _Broken(Exception):
    """This attempt broke off; another one may do."""


def transfer(url: str, part: Path, report: Report) -> None:
    """Bring all bytes of ``url`` into ``part``.

    Args:
        url: An ``http``, ``https`` or ``file`` address.
        part: Grows by what is missing if the server can resume, else is
            written anew. Kept if the transfer breaks off.
        report: Called after each chunk.

    Raises:
        ZooError: If the source can not be reached or keeps breaking off.
        OSError: If ``part`` can not be written.
    """
    if urlsplit(url).scheme == 'file':
        _copy(url, part, report)
    else:
        _HttpTransfer(url, part, report).run()


def _copy(url: str, part: Path, report: Report) -> None:
    """Copy a file of this machine; nothing to resume there."""
    address = urlsplit(url)
    source = Path(url2pathname(address.path))
    if address.netloc not in ('', 'localhost') or not source.is_file():
        raise ZooError(f'there is no file {url}: {MIRROR_HINT}')
    try:
        stream = open(source, 'rb')
    except OSError as error:
        raise ZooError(f'can not read {source}: {error.strerror}') from error
    with stream:
        total = source.stat().st_size
        _pour(stream.read, part, 'wb', 0, total, report)


def _pour(
    read: Callable[[int], bytes],
    part: Path,
    mode: str,
    done: int,
    total: Optional[int],
    report: Report,
) -> int:
    """Write what ``read`` gives, return the bytes ``part`` has then."""
    report(done, total)
    with open(part, mode) as sink:
        while True:
            chunk = read(CHUNK)
            if not chunk:
                # On disk before it can get its final name.
                sink.flush()
                os.fsync(sink.fileno())
                return done
            sink.write(chunk)
            done += len(chunk)
            report(done, total)


class _HttpTransfer:
    """A download over HTTP that takes several attempts if it must."""

    def __init__(self, url: str, part: Path, report: Report) -> None:
        self.url = url
        self.part = part
        self.report = report
        self.total: Optional[int] = None

    def run(self) -> None:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                return self._attempt()
            except _Broken as error:
                reason = error
        raise ZooError(
            f'the download of {self.url} broke off ({reason}){self._kept()}: {MIRROR_HINT}'
        )

    def _attempt(self) -> None:
        have = self._have()
        response = self._open(have)
        if response is None:
            return  # the part is whole already
        with response:
            start, total = _span(response)
            self._check_resumable(have, start, total)
            done = _pour(
                _reader(response), self.part, 'ab' if start else 'wb', start, total, self.report
            )
        if total is not None and done != total:
            raise _Broken(f'{done} of {total} bytes came')

    def _open(self, have: int) -> Optional[Any]:
        """Ask for the bytes from ``have`` on; None if there are no more."""
        headers = {'User-Agent': 'mmrazor_byot'}
        if have:
            headers['Range'] = f'bytes={have}-'
        try:
            request = Request(self.url, headers=headers)
            return urlopen(request, timeout=TIMEOUT)
        except HTTPError as error:
            with error:
                return self._refused(error, have)
        except (URLError, InvalidURL, ValueError) as error:
            reason = getattr(error, 'reason', error)
            raise ZooError(
                f'can not reach {self.url} ({reason}){self._kept()}: {MIRROR_HINT}'
            ) from error
        except (OSError, HTTPException) as error:
            raise _Broken(_describe(error)) from error

    def _refused(self, error: HTTPError, have: int) -> None:
        """Make sense of an answer that is no success."""
        if error.code == 416 and have:
            # Nothing from there on: the part is whole, or of another file.
            if _content_range(error.headers)[1] != have:
                self._start_over(
                    'the file on the server is shorter than what was kept of an earlier download'
                )
            return
        answer = f'{error.code} {error.reason}'
        if error.code in PASSING:
            raise _Broken(f'the server answered {answer}') from error
        raise ZooError(f'{self.url} answered {answer}{self._kept()}: {MIRROR_HINT}') from error

    def _check_resumable(self, have: int, start: int, total: Optional[int]) -> None:
        """Start over if the bytes to come do not continue the part."""
        before, self.total = self.total, total
        if start and start != have:
            self._start_over(f'asked from byte {have} on, the server sent from {start} on')
        if start and None not in (before, total) and before != total:
            self._start_over(
                f'the length of the file on the server changed from {before} to {total} bytes'
            )

    def _start_over(self, reason: str) -> None:
        # Emptied, not removed: whoever holds the lock on it keeps it.
        os.truncate(self.part, 0)
        raise _Broken(reason)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _kept(self) -> str:
        have = self._have()
        if not have:
            return ''
        return f', {have} bytes are kept in {self.part} and the same command goes on from there'


def _reader(response: Any) -> Callable[[int], bytes]:
    """``response.read1``, with the network's errors told from the disk's."""

    def read(size: int) -> bytes:
        try:
            return response.read1(size)
        except (OSError, HTTPException) as error:
            raise _Broken(_describe(error)) from error

    return read


def _span(response: Any) -> Tuple[int, Optional[int]]:
    """Where the body begins in the file, and the file's whole length."""
    if response.status == 206:
        return _content_range(response.headers)
    length = response.headers.get('Content-Length', '')
    return 0, int(length) if length.isdigit() else None


def _content_range(headers: Any) -> Tuple[int, Optional[int]]:
    """Read ``bytes 5-9/10`` as (5, 10) and ``bytes */10`` as (-1, 10)."""
    found = re.match(r'bytes\s+(?:(\d+)-\d+|\*)/(\d+|\*)', headers.get('Content-Range', ''))
    if found is None:
        return -1, None
    start, total = found.groups()
    return (-1 if start is None else int(start), None if total == '*' else int(total))


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__
