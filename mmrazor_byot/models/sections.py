"""Build a classifier of sections, and probe the shapes of their outputs."""

import copy
import traceback
from typing import List, Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModel, BaseModule
from mmrazor.registry import MODELS  # it also builds the ``cfg_path`` form
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.exits import SectionOutput
from mmrazor_byot.exits.shapes import InputSize, ShapeProbe, eval_no_grad, image_size

from .head_loss import check_head_loss
from .torch_classifier import TorchClassifier


def build_architecture(
    architecture: Union[dict, BaseModel], sections: Optional[Sequence[int]], input_size: InputSize
) -> BaseModel:
    """Build a classifier whose backbone returns the feature map of each section.

    For the arguments see :class:`BYOT`. ConfigError if the classifier or a section does not exist.
    """
    if sections is not None:
        sections = tuple(sections)
        if len(sections) < 2 or list(sections) != sorted(set(sections)):
            raise ConfigError(
                f'sections={sections}: name at least two stages of the backbone, in rising order'
            )
    head_cfg = None
    if isinstance(architecture, dict):
        architecture = copy.deepcopy(architecture)
        if sections and 'backbone' in architecture:
            architecture['backbone']['out_indices'] = sections
        if (architecture.get('head') or {}).get('in_channels', 0) is None:
            head_cfg, architecture['head'] = architecture['head'], None
        try:
            architecture = MODELS.build(architecture)
        except (AssertionError, IndexError) as e:
            backbone = architecture.get('backbone') or {}
            line = traceback.extract_tb(e.__traceback__)[-1].line
            raise ConfigError(
                f'backbone {backbone.get("type")} with out_indices={backbone.get("out_indices")} '
                'cannot be built, so the sections may not fit it: '
                f'{type(e).__name__} {e} at "{line}"'
            ) from e
    if isinstance(architecture, TorchClassifier):
        if sections is not None:
            raise ConfigError(
                f'sections={sections}: set after=[...] of the TorchClassifier instead'
            )
        return architecture
    _check_part(architecture, 'backbone')
    _set_sections(architecture.backbone, sections)
    if head_cfg:
        _, feature = run_sections(architecture, image_size(input_size))
        head_cfg['in_channels'] = feature.shape[1]
        architecture.head = MODELS.build(head_cfg)
    _check_part(architecture, 'head')
    return architecture


def _check_part(architecture: BaseModel, part: str) -> None:
    if not isinstance(getattr(architecture, part, None), nn.Module):
        raise ConfigError(
            f'architecture: a {type(architecture).__name__} without {part} cannot teach itself; '
            'give an mmpretrain ImageClassifier with backbone, neck and head, or a '
            'mmrazor_byot.TorchClassifier'
        )


def _set_sections(backbone: BaseModule, sections: Optional[Tuple[int, ...]]) -> None:
    if sections is None and not hasattr(backbone, 'out_indices'):
        return  # timm's, for example: what it returns was set when it was built
    current = tuple(getattr(backbone, 'out_indices', ()))
    if sections is None and len(current) < 2:
        num_stages = getattr(backbone, 'num_stages', 0)
        if num_stages < 2:
            raise ConfigError(
                f'{type(backbone).__name__} does not say how many stages it has: set out_indices '
                'of the backbone, or sections'
            )
        sections = tuple(range(num_stages))
    if sections is not None and sections != current:
        backbone.out_indices = sections


def probe_shapes(architecture: BaseModel, input_size: InputSize) -> ShapeProbe:
    """Run a classifier on an image of zeros; ConfigError if its parts do not fit each other.

    Neither does a head whose own loss is another, see :func:`check_head_loss`.
    """
    if isinstance(architecture, TorchClassifier):
        return architecture.probe_shapes(input_size)
    size = image_size(input_size)
    maps, feature = run_sections(architecture, size)
    try:
        with eval_no_grad(architecture):
            logits = architecture.head((feature,))
    except Exception as e:  # a head of another kind can raise anything
        raise ConfigError(
            f'the head {type(architecture.head).__name__} cannot take the {feature.shape[1]} '
            f'channels of {type(architecture.backbone).__name__} ({type(e).__name__}): set its '
            f'in_channels={feature.shape[1]}, or None to have them filled in, or use a head that '
            'takes one vector an image, such as LinearClsHead'
        ) from e
    check_head_loss(architecture.head, feature, logits.shape[1])
    sections = SectionOutput(tuple(maps[:-1]), feature, logits)
    return ShapeProbe(size, sections, max(maps[-1].shape[2:]))


def run_sections(
    architecture: BaseModel, size: Tuple[int, int, int]
) -> Tuple[List[Tensor], Tensor]:
    """Feature map of each section and the deepest feature (1, D), for an image of zeros."""
    backbone = architecture.backbone
    name = type(backbone).__name__
    with eval_no_grad(architecture):
        device = next(architecture.parameters()).device
        try:
            maps = list(backbone(torch.zeros(1, *size, device=device)))
        except (AttributeError, RuntimeError, IndexError) as e:
            raise ConfigError(
                f'{name} cannot run with out_indices={getattr(backbone, "out_indices", None)} on '
                f'an image of input_size={size} (channels, height, width): {e}'
            ) from e
        expected = len(getattr(backbone, 'out_indices', maps))
        if len(maps) < 2 or len(maps) != expected:
            raise ConfigError(
                f'{name} returns {len(maps)} feature maps for {expected} sections; there must be '
                'at least two, each a stage of the backbone'
            )
        if any(x.ndim != 4 for x in maps):
            raise ConfigError(
                f'{name} returns {[tuple(x.shape) for x in maps]}; sections need feature maps (N, '
                'C, H, W)'
            )
        features = tuple(maps[-1:])
        if architecture.with_neck:
            features = architecture.neck(features)
    if features[-1].ndim != 2:
        raise ConfigError(
            f'the deepest feature has shape {tuple(features[-1].shape)}, not (N, D): give the '
            'architecture a neck, such as GlobalAveragePooling'
        )
    return maps, features[-1]
