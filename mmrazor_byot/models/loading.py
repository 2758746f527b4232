"""Build a network from its config, and load its weights."""

import copy
from typing import Dict, Mapping, Optional, Tuple, TypeVar

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmrazor_byot.config_errors import config_errors
from mmrazor_byot.errors import CheckpointError, ConfigError
from mmrazor_byot.registry import MODELS
from mmrazor_byot.state_dict import describe_difference, rename_like

from .algorithms import BYOT
from .mmrazor_keys import rename_mmrazor_keys
from .plain_weights import ARCHITECTURE, match_names, rename_plain_keys

Model = TypeVar('Model', bound=nn.Module)


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config with its data preprocessor, as the Runner does."""
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    with config_errors():
        model_cfg = copy.deepcopy(cfg.model)
        model_cfg.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
        return MODELS.build(model_cfg)


def load_byot(cfg: Config, checkpoint: str) -> Tuple[BYOT, Dict[str, Tensor], dict]:
    """Build a BYOT network and load all of its weights.

    Args:
        cfg (Config): The whole config.
        checkpoint (str): File, URL or ``zoo://NAME``.

    Returns:
        tuple: As of :func:`load_weights`.

    Raises:
        ConfigError: The model is not a BYOT.
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
    model: Model, cfg: Config, checkpoint: str
) -> Tuple[Model, Dict[str, Tensor], dict]:
    """Load all weights of the network of a config, with or without exits.

    Returns:
        tuple: The network in eval mode, its state dict in the precision of the checkpoint, and the
        ``meta`` of the checkpoint.

    Raises:
        CheckpointError: The checkpoint is broken or does not fit.
    """
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')
    state = convert_state_dict(model, loaded)
    if difference := describe_misfit(model, state):
        raise CheckpointError(
            f'checkpoint "{checkpoint}" does not fit the model of {cfg.filename}: {difference}'
        )
    model.load_state_dict(state, strict=False)  # old ones lack num_batches_tracked
    model.eval()
    return model, {**model.state_dict(), **state}, loaded.get('meta') or {}


def dataset_meta(meta: Optional[dict]) -> dict:
    """The ``dataset_meta`` of a checkpoint's ``meta``, with the ``classes`` of mmcls 0.x."""
    meta = meta or {}
    classes = dict(classes=meta['CLASSES']) if 'CLASSES' in meta else {}
    found = meta.get('dataset_meta')
    return {**classes, **(found if isinstance(found, dict) else {})}


def convert_state_dict(model: nn.Module, checkpoint: dict) -> Dict[str, Tensor]:
    """The weights of a checkpoint, or of a state dict itself, under their names in a model.

    They may be those of a wrapped model and, for BYOT, MMRazor's or the architecture's alone.
    """
    state = rename_like(model, checkpoint.get('state_dict', checkpoint))
    if isinstance(model, BYOT):
        return dict(rename_plain_keys(model, rename_mmrazor_keys(state)))
    return dict(state)


def describe_misfit(model: nn.Module, state: Mapping[str, Tensor]) -> str:
    """What of the weights of :func:`convert_state_dict` does not fit a model; empty if all fit."""
    difference = describe_difference(model, state)
    if not isinstance(model, BYOT) or any(key.startswith('exit_heads.') for key in state):
        return difference
    name = type(model.architecture).__name__
    if difference := describe_architecture_misfit(model, state):
        return f'it has no exit heads; {name}: {difference}'
    return f'it is the {name} alone, without exit heads: train them first, with load_from=...'


def describe_architecture_misfit(model: BYOT, state: Mapping[str, Tensor]) -> str:
    """What of them does not fit the classifier without its exits; empty if all fit."""
    named = {k.removeprefix(ARCHITECTURE): k for k in state if k.startswith(ARCHITECTURE)}
    own = {name: state[key] for name, key in named.items()} or state
    return describe_difference(model.architecture, match_names(model.architecture, own))
