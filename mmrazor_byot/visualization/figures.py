"""A common style for figures, and functions to write them with their data."""

import io
import json
import math
from pathlib import Path
from typing import Dict, List

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmrazor_byot.files import PathLike, check_writable, write_bytes, write_text


def exit_colors(count: int) -> List[tuple]:
    """One color per exit, from light (the first) to dark."""
    return [tuple(color) for color in colormaps['viridis_r'](np.linspace(0.15, 0.9, count))]


def tidy(axes: Axes) -> None:
    """Remove the top and right spines, and add a light grid."""
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(True, color='0.92', linewidth=0.8)
    axes.set_axisbelow(True)


def short_name(name: str, length: int = 14) -> str:
    """The first of the comma-separated names of a class, cut to ``length`` characters."""
    name = name.split(',')[0]
    return name if len(name) <= length else name[: length - 1] + '…'


def save_figure(figure: Figure, path: PathLike) -> List[Path]:
    """Write a figure as PNG and SVG to ``path`` plus the suffix, and return the files."""
    files = [Path(f'{path}.png'), Path(f'{path}.svg')]
    for file in files:
        content = io.BytesIO()
        figure.savefig(content, format=file.suffix[1:], dpi=200, bbox_inches='tight')
        write_bytes(file, content.getvalue())
    return files


def output_folder(path: PathLike) -> Path:
    """The folder of ``--out``; a :class:`ConfigError` if no file can be written there."""
    check_writable(path, is_folder=True)
    return Path(path)


def write_results(folder: Path, figures: Dict[str, Figure], name: str, found: dict) -> None:
    """Write figures by their names, and their data to ``NAME.json``; print the paths."""
    for figure_name, figure in figures.items():
        print(*save_figure(figure, folder / figure_name), sep='\n')
    write_text(folder / f'{name}.json', json.dumps(json_ready(found), indent=2))
    print(folder / f'{name}.json')


def json_ready(value: object) -> object:
    """Convert arrays to lists, and non-finite numbers, which JSON does not have, to None."""
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return json_ready(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
