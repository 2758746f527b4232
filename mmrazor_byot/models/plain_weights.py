"""Load the weights of a classifier without exits into one with exits."""

import os
from collections import OrderedDict
from typing import Any, Dict, Mapping, MutableMapping, Optional

from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader
from torch import nn

from mmrazor_byot.errors import CheckpointError, ConfigError
from mmrazor_byot.state_dict import describe_difference, rename_like

ARCHITECTURE = 'architecture.'


def take_pretrained(architecture: BaseModel) -> Optional[dict]:
    """Take the checkpoint out of a classifier's ``init_cfg``, for :func:`load_pretrained`.

    Raises:
        ConfigError: It has unknown settings.
    """
    init_cfg = architecture.init_cfg
    if isinstance(init_cfg, (list, tuple)) and len(init_cfg) == 1:
        init_cfg = init_cfg[0]
    if not isinstance(init_cfg, dict) or init_cfg.get('type') != 'Pretrained':
        return None
    settings = {key: value for key, value in init_cfg.items() if key != 'type'}
    settings.pop('map_location', None)
    names = [settings.get('checkpoint'), settings.get('prefix') or '']
    if settings.keys() - {'checkpoint', 'prefix'} or not all(isinstance(n, str) for n in names):
        raise ConfigError(
            f'architecture.init_cfg={dict(init_cfg)}: give the checkpoint and, if needed, the '
            'prefix of the names of its weights'
        )
    architecture.init_cfg = None
    return settings


def load_pretrained(classifier: nn.Module, checkpoint: str, prefix: Optional[str] = None) -> None:
    """Load a checkpoint into a classifier; each weight must fit.

    Args:
        classifier (nn.Module): The classifier.
        checkpoint (str): File or URL.
        prefix (str, optional): Load only the weights whose names begin with it. By default it is
            found.

    Raises:
        CheckpointError: The checkpoint is broken or does not fit.
    """
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')
    state = loaded.get('state_dict', loaded)
    if prefix:
        prefix = prefix.removesuffix('.') + '.'
        found = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if not found:
            raise CheckpointError(
                f'checkpoint "{checkpoint}" has no weights whose names begin with "{prefix}"; the '
                f'first are {list(state)[:3]}'
            )
        state = found
    state = match_names(classifier, state)
    if difference := describe_difference(classifier, state):
        raise CheckpointError(
            f'checkpoint "{checkpoint}" does not fit the {type(classifier).__name__}: {difference}'
        )
    classifier.load_state_dict(state, strict=False)  # old ones lack num_batches_tracked


def match_names(classifier: nn.Module, state: Mapping[str, Any]) -> Dict[str, Any]:
    """Rename weights whose names differ from a classifier's in their first parts only.

    A wrapper adds a part, such as ``module.`` or ``model.``; and where torchvision has
    ``conv1.weight`` and ``fc.weight``, mmpretrain has ``backbone.conv1.weight`` and
    ``head.fc.weight``. If not every weight is found, the names stay as they are.
    """
    state = rename_like(classifier, state)
    own = classifier.state_dict()
    common = os.path.commonprefix(list(state))
    common = common[: common.rfind('.') + 1]
    for prefix in ('', common):
        names = {}
        for key in own:
            parts = key.split('.')
            tails = ('.'.join(parts[i:]) for i in range(len(parts) - 1))
            found = next((t for t in tails if prefix + t in state), None)
            if found is not None:
                names[prefix + found] = key
        if len(names) == len(state):
            return {names[key]: value for key, value in state.items()}
    return dict(state)


def load_plain_keys(
    model: BaseModel, state_dict: MutableMapping[str, Any], prefix: str, *args: Any
) -> None:
    """Rename the weights of a classifier without exits, as a pre-hook of ``load_state_dict``."""
    renamed = rename_plain_keys(model, state_dict) if not prefix else state_dict
    if renamed is not state_dict:
        state_dict.clear()
        state_dict.update(renamed)


def rename_plain_keys(model: BaseModel, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rename the weights of a BYOT network's architecture, if a state dict has no others."""
    if any(key.startswith(ARCHITECTURE) for key in state):
        return state
    renamed = match_names(model.architecture, state)
    own = model.architecture.state_dict()
    needed = {key for key in own if not key.endswith('_tracked')}
    if not needed <= renamed.keys() <= own.keys():
        return state
    return OrderedDict((ARCHITECTURE + key, value) for key, value in renamed.items())


def is_untrained(network: nn.Module) -> bool:
    """Whether a network has norm layers, and all have the bias and mean that they are made with."""
    initial = [
        value
        for module in network.modules()
        if 'Norm' in type(module).__name__
        for name, value in module.state_dict().items()
        if name in ('bias', 'running_mean')
    ]
    return bool(initial) and not any(value.any() for value in initial)
