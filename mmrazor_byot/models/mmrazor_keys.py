"""Rename the weights of MMRazor's BYOT checkpoints."""

import re
from typing import Any, Dict, List, Mapping, MutableMapping, Tuple

CONNECTORS = 'distiller.connectors.'
EXIT_HEADS = 'exit_heads.'


def rename_mmrazor_keys(state_dict: Mapping[str, Any], prefix: str = '') -> Dict[str, Any]:
    """Rename the weights of MMRazor's ``SelfDistill`` to those of ``BYOT``.

    The network is ``architecture.*`` in both. MMRazor's exit heads are connectors of the distiller,
    under names from the config such as ``loss_s1_sfeat``: sorted by the numbers in them, they are
    exits 1, 2 and 3. Nothing is renamed if there are no connectors, or already exit heads.
    """
    start = prefix + CONNECTORS
    if any(key.startswith(prefix + EXIT_HEADS) for key in state_dict):
        return dict(state_dict)
    names = {key[len(start) :].split('.')[0] for key in state_dict if key.startswith(start)}
    connectors = sorted(names, key=_numbers)
    renamed = {}
    for key, value in state_dict.items():
        if key.startswith(start):
            name, _, rest = key[len(start) :].partition('.')
            key = f'{prefix}{EXIT_HEADS}{connectors.index(name)}.{rest}'
        renamed[key] = value
    return renamed


def _numbers(name: str) -> Tuple[List[int], str]:
    return [int(digits) for digits in re.findall(r'\d+', name)], name


def load_mmrazor_keys(state_dict: MutableMapping[str, Any], prefix: str, *args: Any) -> None:
    """Apply :func:`rename_mmrazor_keys` in place, as a pre-hook of ``load_state_dict``."""
    renamed = rename_mmrazor_keys(state_dict, prefix)
    state_dict.clear()
    state_dict.update(renamed)
