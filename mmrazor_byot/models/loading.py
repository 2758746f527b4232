"""Build a network from its config, and load its weights."""

import copy
import re
from typing import Dict, List, Tuple

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmrazor_byot.errors import CheckpointError, ConfigError
from mmrazor_byot.registry import MODELS

from .algorithms import BYOT


def build_model(cfg: Config) -> nn.Module:
    """Build a recipe's model as the Runner does, with its preprocessor.

    Args:
        cfg (Config): The recipe; it is not changed.
    """
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    settings = copy.deepcopy(cfg.model)
    settings.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    return MODELS.build(settings)


def load_byot(cfg: Config, checkpoint: str) -> Tuple[BYOT, Dict[str, Tensor], dict]:
    """Build a BYOT network and load its weights, all of them.

    Args:
        cfg (Config): Its whole config.
        checkpoint (str): File, address or ``zoo://NAME``.

    Returns:
        tuple: As of :func:`load_weights`.

    Raises:
        ConfigError: The model is no BYOT.
        CheckpointError: The checkpoint is broken or does not fit.
    """
    model = build_model(cfg)
    if not isinstance(model, BYOT):
        raise ConfigError(
            f'the model of {cfg.filename} is a {type(model).__name__} without exits; give the '
            'config of a mmrazor_byot.BYOT'
        )
    return load_weights(model, cfg, checkpoint)


def load_weights(
    model: nn.Module, cfg: Config, checkpoint: str
) -> Tuple[nn.Module, Dict[str, Tensor], dict]:
    """Load the weights of a network, with or without exits, all of them.

    Args:
        model (nn.Module): Of :func:`build_model`.
        cfg (Config): The config it was built of, to be named in messages.
        checkpoint (str): File, address or ``zoo://NAME``.

    Returns:
        tuple: The network, for evaluation; its state dict, in the precision of the checkpoint; and
        ``meta`` of the checkpoint.

    Raises:
        CheckpointError: The checkpoint is broken or does not fit.
    """
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')
    state = state_for(model, loaded)
    difference = describe_difference(model, state)
    if difference:
        raise CheckpointError(
            f'checkpoint "{checkpoint}" does not fit the model of {cfg.filename}: {difference}'
        )
    model.load_state_dict(state, strict=False)  # old ones lack batch counters
    model.eval()
    return model, {**model.state_dict(), **state}, loaded.get('meta') or {}


def state_for(model: nn.Module, checkpoint: dict) -> Dict[str, Tensor]:
    """The weights of a checkpoint under the names that a model gives them.

    Args:
        model (nn.Module): The model.
        checkpoint (dict): With ``state_dict``, or a state dict itself; of a wrapped model too, and
            for BYOT of MMRazor's.
    """
    state = {
        re.sub(r'^module\.', '', str(key)): value
        for key, value in checkpoint.get('state_dict', checkpoint).items()
    }
    if hasattr(model, 'convert_state_dict'):  # BYOT reads MMRazor's too
        state = model.convert_state_dict(state)
    return state


def describe_difference(model: nn.Module, state: Dict[str, Tensor], first: int = 3) -> str:
    """Say how a state dict differs from a model's.

    Args:
        model (nn.Module): The model.
        state (dict[str, Tensor]): The state dict.
        first (int): How many keys to name of each kind.

    Returns:
        str: Empty where it fits.
    """
    own = model.state_dict()
    missing = [k for k in own if k not in state and not k.endswith('_tracked')]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f'{k} is {_shape(state[k])}, not {_shape(own[k])}'
        for k in own
        if k in state and _shape(state[k]) != _shape(own[k])
    ]
    return '; '.join(
        _list(kind, keys, first)
        for kind, keys in (
            ('missing', missing),
            ('unexpected', unexpected),
            ('other shapes', shapes),
        )
        if keys
    )


def _shape(value) -> object:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value)


def _list(kind: str, keys: List[str], first: int) -> str:
    more = f' and {len(keys) - first} more' if len(keys) > first else ''
    return f'{kind}: {", ".join(keys[:first])}{more}'
