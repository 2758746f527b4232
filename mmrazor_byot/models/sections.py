"""A classifier as sections: build it so that it returns one map a section."""

import copy
import traceback
from typing import Optional, Sequence, Union

from mmengine.model import BaseModel
from mmrazor.registry import MODELS  # it also builds the ``cfg_path`` form
from torch import nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.structures import image_size

from .network_view import run_sections


def build_architecture(
    architecture: Union[dict, BaseModel],
    sections: Optional[Sequence[int]],
    input_size: Union[int, Sequence[int]],
) -> BaseModel:
    """Build a classifier whose backbone returns one feature map a section.

    Args:
        architecture (dict | BaseModel): Config, ``cfg_path`` form, or model. ``in_channels=None``
            of its head is filled in with what backbone and neck give.
        sections (Sequence[int], optional): See :class:`BYOT`.
        input_size (int | Sequence[int]): See :class:`BYOT`.

    Returns:
        BaseModel: The classifier, with ``backbone``, ``neck`` and ``head``.

    Raises:
        ConfigError: There is no such classifier or no such section.
    """
    if sections is not None:
        sections = tuple(sections)
        if len(sections) < 2 or list(sections) != sorted(set(sections)):
            raise ConfigError(
                f'sections={sections}: name at least two stages of the backbone, in rising order'
            )
    open_head = None
    if isinstance(architecture, dict):
        architecture = copy.deepcopy(architecture)
        if sections and 'backbone' in architecture:
            architecture['backbone']['out_indices'] = sections
        if (architecture.get('head') or {}).get('in_channels', 0) is None:
            open_head, architecture['head'] = architecture['head'], None
        try:
            architecture = MODELS.build(architecture)
        except (AssertionError, IndexError) as e:
            raise ConfigError(_does_not_build(architecture, e)) from e
    _check_part(architecture, 'backbone')
    _set_sections(architecture.backbone, sections)
    if open_head:
        _, feature = run_sections(architecture, image_size(input_size))
        open_head['in_channels'] = feature.shape[1]
        architecture.head = MODELS.build(open_head)
    _check_part(architecture, 'head')
    return architecture


def _check_part(architecture: BaseModel, part: str) -> None:
    if not isinstance(getattr(architecture, part, None), nn.Module):
        raise ConfigError(
            f'architecture: a {type(architecture).__name__} without {part} cannot teach itself; '
            'give an mmpretrain ImageClassifier with backbone, neck and head'
        )


def _does_not_build(architecture: dict, cause: Exception) -> str:
    backbone = architecture.get('backbone') or {}
    where = traceback.extract_tb(cause.__traceback__)[-1]
    return (
        f'backbone {backbone.get("type")} with out_indices={backbone.get("out_indices")} does not '
        f'build, so the sections may not fit it: {type(cause).__name__} {cause} at "{where.line}"'
    )


def _set_sections(backbone: nn.Module, sections: Optional[tuple]) -> None:
    if sections is None and not hasattr(backbone, 'out_indices'):
        return  # timm's, for example: it returns what it was built to return
    current = tuple(getattr(backbone, 'out_indices', ()))
    if sections is None and len(current) < 2:
        stages = getattr(backbone, 'num_stages', 0)
        if stages < 2:
            raise ConfigError(
                f'{type(backbone).__name__} does not say how many stages it has: set out_indices '
                'of the backbone, or sections'
            )
        sections = tuple(range(stages))
    if sections is not None and sections != current:
        backbone.out_indices = sections


def per_exit(name: str, cfg, count: int) -> list:
    """One config for each shallow exit.

    Args:
        name (str): The setting's name, for the message.
        cfg (dict | Sequence | None): One for all, or a list of them.
        count (int): Number of shallow exits.

    Raises:
        ConfigError: A list of another length.
    """
    if cfg is None or isinstance(cfg, dict):
        return [cfg] * count
    if len(cfg) != count:
        raise ConfigError(
            f'{name} lists {len(cfg)} configs, but the network has {count} shallow exits'
        )
    return list(cfg)
