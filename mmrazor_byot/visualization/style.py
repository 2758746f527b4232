"""One look for all figures, and how they are written."""

import io
from pathlib import Path
from typing import List, Union

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmrazor_byot.files import write_bytes

#: Formats that every figure is written in.
SUFFIXES = ('.png', '.svg')


def exit_colours(count: int) -> List[tuple]:
    """A colour for each exit, from light (the first) to dark.

    Args:
        count (int): Number of exits, C.
    """
    scale = colormaps['viridis_r']
    return [scale(0.15 + 0.75 * i / max(1, count - 1)) for i in range(count)]


def tidy(axes: Axes) -> None:
    """Leave out what says nothing: the upper and the right border."""
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(True, color='0.92', linewidth=0.8)
    axes.set_axisbelow(True)


def short_name(name: str, length: int = 14) -> str:
    """The first of a class's names, cut to so many characters."""
    name = name.split(',')[0]
    return name if len(name) <= length else name[: length - 1] + '…'


def save_figure(figure: Figure, path: Union[str, Path]) -> List[Path]:
    """Write a figure as PNG and SVG; each file appears whole.

    Args:
        figure (Figure): The figure.
        path (str | Path): Without ending.

    Returns:
        list[Path]: The files.
    """
    files = []
    for suffix in SUFFIXES:
        content = io.BytesIO()
        figure.savefig(content, format=suffix[1:], dpi=200, bbox_inches='tight')
        files.append(Path(f'{path}{suffix}'))
        write_bytes(files[-1], content.getvalue())
    return files
