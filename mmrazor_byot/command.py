"""Run a command: an error or a signal ends it with one line."""

import contextlib
import errno
import gc
import hashlib
import io
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Dict, Iterator, Optional, Type, Union

from .errors import ByotError, ByotWarning, one_line
from .files import DISK_ERRORS

#: The file descriptor to which tools/dist_run.py asks its processes to write their errors.
REPORT_FD = 'MMRAZOR_BYOT_REPORT_FD'
SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: What a user, not a bug, is the cause of.
PATH_ERRORS = (
    *(errno.EACCES, errno.EPERM, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG),
    *(errno.EMFILE, errno.ENFILE, errno.ELOOP),
)

_python_show_warning = warnings.showwarning
_state: Dict[str, Any] = dict(signal=0, running=False, again='start it again')


def catch_signals(again: str = 'start it again') -> None:
    """Let Ctrl-C and SIGTERM end this process with one line.

    A command calls it before its imports, which take seconds. Until :func:`run_command` the line is
    all that happens; from then on Ctrl-C raises KeyboardInterrupt and SIGTERM SystemExit, so that
    what was begun can be ended.

    Args:
        again (str): What the user can do to go on.
    """
    _state.update(signal=0, running=False, again=again)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)
    # Workers of a data loader end with this process.
    os.register_at_fork(after_in_child=_leave_to_parent)


@contextlib.contextmanager
def default_signals() -> Iterator[None]:
    """Let a signal end the process at once, while torch waits and could not handle it."""
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _leave_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _handle(number: int, frame: Optional[FrameType]) -> None:
    again, _state['signal'] = _state['signal'], _state['signal'] or number
    if again and number == signal.SIGTERM:  # torchrun sends it after a Ctrl-C
        return
    if not _state['running']:
        report(_describe(KeyboardInterrupt()))
    if again or not _state['running']:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


def run_command(main: Callable[[], None]) -> None:
    """Run a command, and print an error that is not a bug as one line.

    The exit status is 1, or 128 plus the number of a signal.
    """
    _state['running'] = True
    warnings.showwarning = _show_warning
    try:
        main()
        return
    except BaseException as e:
        line = _describe(e)
        if not line:
            raise
    sys.stdout.flush()
    report(line)
    if signal.getsignal(signal.SIGTERM) == _handle:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process is ending
    if not _state['signal']:
        sys.exit(1)
    gc.freeze()  # or Python would look for garbage in all of torch for more than a second
    sys.exit(128 + _state['signal'])


def report(line: str) -> None:
    """Print an error, once for all processes of dist_run.py or torchrun on this machine."""
    try:
        if REPORT_FD in os.environ:
            os.write(int(os.environ[REPORT_FD]), f'{line}\n'.encode())
            return
        if 'TORCHELASTIC_ERROR_FILE' in os.environ:  # RUN/attempt_0/RANK/error.json
            folder = Path(os.environ['TORCHELASTIC_ERROR_FILE']).parents[2]
            (folder / hashlib.sha256(line.encode()).hexdigest()).touch(exist_ok=False)
    except FileExistsError:
        return  # said by another process, or before a restart
    except OSError:
        pass
    sys.stderr.write(f'error: {line}\n')  # at once, as processes may share it
    sys.stderr.flush()


def _show_warning(
    message: Union[Warning, str], category: Type[Warning], *place: Any, **more: Any
) -> None:
    """Print a warning of ours as one line, on rank 0, and others as Python does."""
    if not issubclass(category, ByotWarning):
        _python_show_warning(message, category, *place, **more)
    elif int(os.environ.get('RANK', 0)) == 0:
        print(f'warning: {one_line(message)}', file=sys.stderr, flush=True)


def _describe(error: BaseException) -> str:
    """One line about an error; '' if it is a bug or the end of the program."""
    if _state['signal']:
        name = 'Ctrl-C' if _state['signal'] == signal.SIGINT else 'SIGTERM'
        return f'interrupted by {name}; {_state["again"]}'
    if isinstance(error, ByotError):
        return str(error)
    if isinstance(error, OSError):
        if 'Original Traceback' in str(error):  # of a data loader's worker, which ends in the error
            return one_line(str(error).rpartition('Error: ')[2])
        path, reason = error.filename or _open_file(error), error.strerror
        if error.errno in DISK_ERRORS:
            return f'cannot write "{path}": {reason}' if path else f'cannot write: {reason}'
        if error.errno in PATH_ERRORS and path:
            return f'cannot open "{path}": {reason}'
    return ''


def _open_file(error: OSError) -> str:
    """The name of the file that was written when an error without a name was raised."""
    name = ''
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, io.IOBase):
                name = getattr(value, 'name', name)
    return str(name)
