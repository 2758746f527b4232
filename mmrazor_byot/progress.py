"""A progress bar on the terminal."""

import sys
from typing import Iterable, Optional, TypeVar

import rich.progress
from rich.console import Console

T = TypeVar('T')


def track(
    items: Iterable[T], description: str, total: Optional[int] = None, show: bool = True
) -> Iterable[T]:
    """Iterate with a progress bar on stderr, which is removed at the end.

    Where stderr is not a terminal, as in a notebook, there is none.
    """
    if not (show and sys.stderr.isatty()):  # rich takes a notebook for a terminal
        return items
    console = Console(stderr=True)
    return rich.progress.track(items, description, total, console=console, transient=True)
