"""Run the tools' commands in this process, as often as a fuzz suite needs."""

import contextlib
import gc
import io
import runpy
import sys
import traceback
import warnings
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Callable, NamedTuple
from unittest import mock

from run import ROOT


class Case(NamedTuple):
    """An input: ``run`` gives it to a reader; ``wrong`` if it must be refused."""

    name: str
    run: Callable[[], 'Ended']
    wrong: bool = False


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        how (str): ``'answer'``, ``'line'`` (one line that says what is wrong) or ``'traceback'``.
        text (str): What it printed, the line, or the traceback.
    """

    how: str
    text: str


@cache
def tool_main(name: str) -> FunctionType:
    """The ``main`` of ``tools/NAME``, or of ``mmrazor_byot.runtime``."""
    if name == 'runtime':
        from mmrazor_byot.runtime.__main__ import main

        return main
    path = str(ROOT / 'tools' / name)
    with mock.patch.object(sys, 'argv', [path]):
        return runpy.run_path(path, run_name='tool')['main']


def call(function, *args, **kwargs) -> Ended:
    """Call a function of the library: whatever is not a ByotError is a traceback."""
    from mmrazor_byot.errors import ByotError

    try:
        return Ended('answer', repr(function(*args, **kwargs))[:2000])
    except ByotError as e:
        return one_line(f'error: {e}\n')
    except Exception:
        return Ended('traceback', traceback.format_exc())


def command(name: str, *words) -> Ended:
    """Run a tool in this process, as ``run_tool`` runs it."""
    from mmengine.logging import MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    from mmrazor_byot.command import run_command
    from mmrazor_byot.launch import run_tool

    plain = name in ('runtime', 'deploy/bench.py', 'model_zoo.py')
    out, errors, status = io.StringIO(), io.StringIO(), 0
    main = tool_main(name)
    path = list(sys.path)
    for kind in (DefaultScope, MMLogger, Visualizer):
        kind._instance_dict.clear()

    with (
        mock.patch.object(sys, 'argv', [name, *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore')
        try:
            (run_command if plain else run_tool)(main)
        except SystemExit as e:
            status = e.code or 0
        except Exception:
            return Ended('traceback', traceback.format_exc())
        finally:
            sys.path[:] = path
            gc.collect()
    if status == 0:
        return Ended('answer', out.getvalue() + errors.getvalue())
    return one_line(errors.getvalue())


def one_line(text: str) -> Ended:
    """The line of an error, after a command's usage; anything else is a traceback."""
    lines = text.split('\n')
    said = [line for line in lines if 'error: ' in line]
    last = lines[-2] if len(lines) > 1 else ''
    clean = all(c.isprintable() for c in last)
    if len(said) == 1 and said[0] == last and clean and lines[-1] == '':
        return Ended('line', last)
    return Ended('traceback', text)


def leftovers(folder: Path) -> list:
    """Files that a command has left half-written."""
    return [str(path) for path in folder.rglob('*') if '.tmp' in path.name]
