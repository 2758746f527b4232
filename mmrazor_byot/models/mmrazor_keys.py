"""MMRazor's BYOT checkpoints: the names of their weights, as ours."""

import re
from typing import Any, Dict, List, MutableMapping

CONNECTORS = 'distiller.connectors.'
EXIT_HEADS = 'exit_heads.'


def rename_mmrazor_keys(state_dict: MutableMapping[str, Any], prefix: str = '') -> Dict[str, Any]:
    """Rename the weights of MMRazor's ``SelfDistill`` to those of ``BYOT``.

    The network is ``architecture.*`` in both. MMRazor keeps its exit heads as connectors of the
    distiller, under names that the config chose, such as ``loss_s1_sfeat``: sorted by the numbers
    in them, they are exit 1, 2, 3.

    Args:
        state_dict (dict): Name to weight; it is not changed.
        prefix (str): What stands before all names. Defaults to nothing.

    Returns:
        dict: The same weights, renamed. Where there are no connectors, or exit heads besides, all
        names stay.
    """
    start = prefix + CONNECTORS
    if any(key.startswith(prefix + EXIT_HEADS) for key in state_dict):
        return dict(state_dict)
    names = {key[len(start) :].split('.')[0] for key in state_dict if key.startswith(start)}
    heads = {
        f'{start}{name}.': f'{prefix}{EXIT_HEADS}{i}.'
        for i, name in enumerate(sorted(names, key=_numbers))
    }

    def renamed(key: str) -> str:
        for old, new in heads.items():
            if key.startswith(old):
                return new + key[len(old) :]
        return key

    return {renamed(key): value for key, value in state_dict.items()}


def _numbers(name: str) -> tuple:
    numbers: List[int] = [int(digits) for digits in re.findall(r'\d+', name)]
    return numbers, name


def load_mmrazor_keys(state_dict: MutableMapping[str, Any], prefix: str, *args) -> None:
    """Hook of a module's loading: :func:`rename_mmrazor_keys` in place.

    Args:
        state_dict (dict): Name to weight; it is changed.
        prefix (str): What stands before the module's names.
        *args: What else torch hands to such hooks; not used.
    """
    renamed = rename_mmrazor_keys(state_dict, prefix)
    state_dict.clear()
    state_dict.update(renamed)
