"""Figures and numbers, written side by side."""

import json
import math
from pathlib import Path
from typing import Dict, Union

import numpy as np
from matplotlib.figure import Figure

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import write_text

from .style import save_figure


def output_folder(path: str) -> Path:
    """Make a folder to write to.

    Raises:
        ConfigError: It cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f'--out {path} cannot be made: {e.strerror or e}') from e
    return folder


def write_results(folder: Path, figures: Dict[str, Figure], name: str, found: dict) -> None:
    """Write figures and their numbers, and say where they are.

    Args:
        folder (Path): Of :func:`output_folder`.
        figures (dict[str, Figure]): By name of the files, without ending.
        name (str): Of the numbers' file, without ending.
        found (dict): The numbers.
    """
    for figure_name, figure in figures.items():
        for path in save_figure(figure, folder / figure_name):
            print(path)
    write_text(folder / f'{name}.json', json.dumps(json_ready(found), indent=2))
    print(folder / f'{name}.json')


def json_ready(value: object) -> Union[dict, list, str, float, None]:
    """Arrays as lists, and numbers that JSON has not as None."""
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [json_ready(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
