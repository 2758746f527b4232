"""The recipes, each read once: it takes a third of a second."""

import copy
import functools
import re

import pytest
from mmengine.config import Config
from run import RECIPES, ROOT

#: Names of all recipes, and of those that teach themselves.
ALL = sorted(path.stem for path in RECIPES.glob('*.py'))
BYOT = [name for name in ALL if name.startswith('byot')]
TABLE = ROOT / 'docs/model_table.md'


def load(name: str) -> Config:
    """A recipe, to do with as one likes."""
    return copy.deepcopy(_load(name))


@functools.cache
def _load(name: str) -> Config:
    return Config.fromfile(RECIPES / f'{name}.py')


def with_slow(names: list, slow: list) -> list:
    """Parameters of a test: the names that contain one of ``slow`` are marked so."""
    return [
        pytest.param(name, marks=pytest.mark.slow) if any(net in name for net in slow) else name
        for name in names
    ]


def table_rows(name: str) -> dict:
    """What docs/model_table.md says that a recipe's exits cost.

    Returns:
        dict: For ``params`` and ``FLOPs`` six numbers: the plain network, exit 1 to 4 (None where
        there are three), the ensemble.
    """
    text = TABLE.read_text(encoding='utf-8')
    assert f'| [{name}](' in text, f'{TABLE} has no {name}'
    rows = {}
    for line in text[text.index(f'| [{name}](') :].splitlines()[:2]:
        _, _, title, *cells, _ = line.split('|')
        digits = [re.sub('[^0-9]', '', cell) for cell in cells]
        rows[title.strip()] = [int(n) if n else None for n in digits]
    return rows
