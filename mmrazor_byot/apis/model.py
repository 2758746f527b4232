"""A trained network by config, by its name in the zoo, or as it is."""

import os
from typing import Any, List, Optional, Sequence, Union

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmpretrain.registry import DATASETS

from mmrazor_byot.datasets import image_settings
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.launch import load_config
from mmrazor_byot.models.loading import build_model, load_byot
from mmrazor_byot.zoo import ZooModel, find_model, list_models

#: A recipe: its file, its content, or its name in the zoo.
Recipe = Union[str, os.PathLike, Config]


def get_model(
    model: Union[BaseModel, Recipe],
    pretrained: Union[bool, str, os.PathLike, None] = True,
    config: Optional[Recipe] = None,
) -> BaseModel:
    """Build a network and load its weights.

    Args:
        model (BaseModel | str | Config): A built network, a recipe's file or content, or a name in
            the zoo.
        pretrained (bool | str | None): A checkpoint or ``zoo://NAME``. True: the weights that the
            zoo has for the recipe. None or False: none, the network is untrained. Defaults to True.
        config (str | Config, optional): The recipe of a built network; mmpretrain's carry it as
            ``_config``.

    Returns:
        BaseModel: For evaluation, with ``_config`` and ``_dataset_meta`` as mmpretrain's
        ``get_model`` leaves them.

    Raises:
        ConfigError: The recipe is missing or has no weights in the zoo.
        CheckpointError: The weights are missing, broken or do not fit.
        ZooError: There is no such name.
    """
    if isinstance(model, BaseModel):
        return _built(model, pretrained, config)
    cfg = read_recipe(model)
    if not pretrained:
        network, meta = _with_exits(build_model(cfg)), {}
    else:
        if pretrained is True:
            pretrained = _zoo_weights(model, cfg)
        network, _, meta = load_byot(cfg, os.fspath(pretrained))
    network._config = cfg
    network._dataset_meta = dict(meta.get('dataset_meta') or {})
    if 'CLASSES' in meta:  # of mmcls 0.x, and so of MMRazor
        network._dataset_meta.setdefault('classes', meta['CLASSES'])
    return network


def recipe_path(model: Union[str, os.PathLike]) -> str:
    """The config file that a path, or a name in the zoo, stands for.

    Raises:
        ZooError: There is no such name.
    """
    if not _is_name(model):
        return os.fspath(model)
    entry = find_model(model)
    if entry.config is None:
        raise ConfigError(
            f'{model} has no config in the zoo; give its config file and its checkpoint'
        )
    return str(entry.root / entry.config)


def read_recipe(model: Recipe) -> Config:
    """Read a recipe; a Config is returned as it is.

    Raises:
        ConfigError: It is missing or does not parse.
        ZooError: There is no such name in the zoo.
    """
    if isinstance(model, Config):
        return model
    if not isinstance(model, (str, os.PathLike)):
        raise ConfigError(
            'the model is a config, its file, a name in the zoo or a built network, not a '
            f'{type(model).__name__}'
        )
    return load_config(recipe_path(model))


def move_model(model: BaseModel, device: Union[str, torch.device]) -> None:
    """Bring a network to a device.

    Raises:
        ConfigError: There is none of that name.
    """
    try:
        model.to(device)
    # AssertionError: torch was built without CUDA.
    except (RuntimeError, AssertionError) as e:
        reason = str(e).strip().splitlines()[0]
        raise ConfigError(f'device {str(device)!r} cannot be used: {reason[:150]}') from e


def class_names(model: BaseModel, classes: Optional[Sequence[str]] = None) -> List[str]:
    """Names of the classes.

    Args:
        model (BaseModel): Of :func:`get_model`.
        classes (Sequence[str], optional): The user's. Defaults to those of the checkpoint, the
            recipe or its data set, else to numbers.

    Returns:
        list[str]: K names.

    Raises:
        ConfigError: The user's are not K.
    """
    count = model.num_classes
    if classes is not None:
        if isinstance(classes, str) or len(classes) != count:
            raise ConfigError(
                f'classes={classes!r}: the network has {count} classes; give a list with a name '
                'for each'
            )
        return [str(name) for name in classes]
    loader = model._config.get('test_dataloader') or {}
    dataset = image_settings(loader.get('dataset') or {})
    kind = DATASETS.get(dataset['type']) if 'type' in dataset else None
    for meta in (
        getattr(model, '_dataset_meta', None),
        dataset.get('metainfo'),
        getattr(kind, 'METAINFO', None),
    ):
        names = (meta or {}).get('classes')
        if isinstance(names, (list, tuple)) and len(names) == count:
            return [str(name) for name in names]
    return [str(number) for number in range(count)]


def _built(model: BaseModel, pretrained: Any, config: Optional[Recipe]) -> BaseModel:
    if pretrained not in (True, False, None):
        raise ConfigError(
            f'pretrained={pretrained}: a built network has its weights; give its config instead, '
            'or load them'
        )
    if config is not None:
        model._config = read_recipe(config)
    if getattr(model, '_config', None) is None:
        raise ConfigError(
            'the network does not carry its recipe, which says how images are shown to it; give it '
            'as config='
        )
    return _with_exits(model)


def _with_exits(model: BaseModel) -> BaseModel:
    if getattr(model, 'num_exits', 1) < 2:
        raise ConfigError(
            f'the model is a {type(model).__name__} without exits; give a mmrazor_byot.BYOT'
        )
    model.eval()
    return model


def _is_name(model: Any) -> bool:
    return isinstance(model, str) and not (
        model.endswith('.py') or os.path.basename(model) != model or os.path.exists(model)
    )


def _zoo_weights(model: Recipe, cfg: Config) -> str:
    """Where the zoo has the weights of a recipe."""
    entry = find_model(model) if _is_name(model) else _entry_of(cfg)
    if entry is None or entry.weights is None:
        name = model if _is_name(model) else f'config "{cfg.filename}"'
        raise ConfigError(
            f'the zoo has no weights for {name}: give a checkpoint (in Python as pretrained=)'
        )
    return str(entry.shipped) if entry.shipped else f'zoo://{entry.name}'


def _entry_of(cfg: Config) -> Optional[ZooModel]:
    if not cfg.filename:
        return None
    path = os.path.realpath(cfg.filename)
    found = [
        m
        for m in list_models()
        if m.config and m.weights and os.path.realpath(m.root / m.config) == path
    ]
    return found[0] if found else None
