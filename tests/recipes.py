"""The recipes, each read once: it takes a third of a second."""
import copy
import functools

from mmengine.config import Config
from run import RECIPES

#: Names of all recipes, and of those that teach themselves.
ALL = sorted(path.stem for path in RECIPES.glob('*.py'))
BYOT = [name for name in ALL if name.startswith('byot')]


def load(name: str) -> Config:
    """A recipe, to do with as one likes."""
    return copy.deepcopy(_load(name))


@functools.cache
def _load(name: str) -> Config:
    return Config.fromfile(RECIPES / f'{name}.py')
