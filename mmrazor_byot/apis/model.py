"""Build a network from its config or its name in the zoo."""

import os
from typing import List, Optional, Sequence, Union

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmpretrain.registry import DATASETS

from mmrazor_byot.datasets import image_settings
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation.collect import Network
from mmrazor_byot.exits import ExitNetwork
from mmrazor_byot.files import PathLike
from mmrazor_byot.launch import load_config
from mmrazor_byot.models.loading import build_model, dataset_meta, load_byot
from mmrazor_byot.zoo import find_model, list_models

#: A name in the zoo, a config file, or a config.
Recipe = Union[PathLike, Config]


def get_model(
    model: Recipe,
    pretrained: Union[bool, PathLike, None] = True,
    device: Union[str, torch.device, None] = None,
) -> BaseModel:
    """Build a network with exits and load its weights, as mmpretrain's ``get_model`` does.

    Unlike there, all weights must fit.

    Args:
        model (str | Path | Config): A name in the zoo, a config file, or a config.
        pretrained (bool | str | Path, optional): A checkpoint or ``zoo://NAME``; if True, the
            weights that the zoo has for the config; if False or None, the weights are random.
            Defaults to True.
        device (str | torch.device, optional): Defaults to the CPU.

    Returns:
        BaseModel: In evaluation mode, with ``_config`` and ``_dataset_meta`` as in mmpretrain.

    Raises:
        ConfigError: The config is missing, has no exits or no weights in the zoo, or the device is
            not available.
        CheckpointError: The weights are missing, damaged or do not fit.
        ZooError: The zoo does not have the name.
    """
    if not isinstance(pretrained, (bool, str, os.PathLike, type(None))):
        raise ConfigError(f'pretrained={pretrained!r}: give a checkpoint, True or False')
    cfg = read_recipe(model)
    network: BaseModel
    if pretrained:
        checkpoint = _zoo_weights(cfg) if pretrained is True else os.fspath(pretrained)
        network, _, meta = load_byot(cfg, checkpoint)
    else:
        network, meta = build_model(cfg).eval(), {}
        _check_exits(network)
    network._config = cfg
    network._dataset_meta = dataset_meta(meta)
    if device is not None:
        move_model(network, device)
    return network


def _check_exits(model: BaseModel) -> None:
    if getattr(model, 'num_exits', 1) < 2:
        raise ConfigError(
            f'the model is a {type(model).__name__} without exits; give a mmrazor_byot.BYOT'
        )


def check_built(
    model: Network, pretrained: object, config: Optional[Recipe], transform: object = None
) -> None:
    """Set the config of a built network, and check the network."""
    if pretrained not in (True, False, None):
        raise ConfigError(
            f'pretrained={pretrained}: a built network has its weights; give a config instead, '
            'or load them before'
        )
    if isinstance(model, ExitNetwork):
        if transform is None or config is not None:
            raise ConfigError(
                'a plain torch network needs transform=, the transform of torchvision or timm that '
                'prepares test images, and no config'
            )
        return
    if transform is not None:
        raise ConfigError('transform= is for plain torch networks; here the config prepares images')
    if config is not None:
        model._config = read_recipe(config)
    if getattr(model, '_config', None) is None:
        raise ConfigError(
            'a built network needs its config, which says how to prepare images; give it as config='
        )
    _check_exits(model)


def recipe_path(model: PathLike) -> str:
    """The config file of a name in the zoo; a path is returned as it is.

    Raises:
        ConfigError: The zoo has no config for the name.
        ZooError: The zoo does not have the name.
    """
    path = os.fspath(model)
    if path.endswith('.py') or os.path.dirname(path) or os.path.exists(path):
        return path
    entry = find_model(path)
    if entry.config is None:
        raise ConfigError(f'{path} has no config in the zoo; give its config file and checkpoint')
    return str(entry.root / entry.config)


def read_recipe(model: Recipe) -> Config:
    """Read a config, see :func:`get_model`; a Config is returned as it is."""
    if isinstance(model, Config):
        return model
    if not isinstance(model, (str, os.PathLike)):
        raise ConfigError(
            'model must be a config, a config file, a name in the zoo or a built network, not a '
            f'{type(model).__name__}'
        )
    return load_config(recipe_path(model))


def move_model(model: BaseModel, device: Union[str, torch.device]) -> None:
    """Move a network to a device; a :class:`ConfigError` if it is not available."""
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as e:  # AssertionError: torch was built without CUDA
        reason = str(e).strip().splitlines()[0]
        raise ConfigError(f'device {str(device)!r} cannot be used: {reason[:150]}') from e


def class_names(model: Network, classes: Optional[Sequence[str]] = None) -> List[str]:
    """Names of the K classes.

    They default to those in the checkpoint, the config or its data set, else to numbers.

    Raises:
        ConfigError: ``classes`` are not K names.
    """
    count = model.num_classes
    if classes is not None:
        if not isinstance(classes, (list, tuple)) or len(classes) != count:
            raise ConfigError(
                f'classes={classes!r}: the network has {count} classes; give a list of {count}'
            )
        return [str(name) for name in classes]
    loader = getattr(model, '_config', {}).get('test_dataloader') or {}
    dataset = image_settings(loader.get('dataset') or {})
    known = DATASETS.get(dataset['type']) if 'type' in dataset else None
    metas = (
        getattr(model, '_dataset_meta', None),
        dataset.get('metainfo'),
        getattr(known, 'METAINFO', None),
    )
    for names in ((meta or {}).get('classes') for meta in metas):
        if isinstance(names, (list, tuple)) and len(names) == count:
            return [str(name) for name in names]
    return [str(number) for number in range(count)]


def _zoo_weights(cfg: Config) -> str:
    """The zoo's weights for a config, which is identified by its file."""
    path = os.path.realpath(cfg.filename or '')
    for entry in list_models():
        if entry.weights and entry.config and os.path.realpath(entry.root / entry.config) == path:
            return str(entry.shipped) if entry.shipped else f'zoo://{entry.name}'
    raise ConfigError(
        f'the zoo has no weights for config "{cfg.filename}": give a checkpoint (in Python as '
        'pretrained=)'
    )
