"""A classifier as sections: build it, and probe the shapes that come out of each."""

import contextlib
import copy
import traceback
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModel
from mmrazor.registry import MODELS  # it also builds the ``cfg_path`` form
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError


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


class ShapeProbe(NamedTuple):
    """What a look at the built network shows.

    Attributes:
        input_size (tuple): (C, H, W) of the image it was looked at with.
        maps (list[Tensor]): Feature map of each section, (1, C_i, H_i, W_i).
        feature (Tensor): The deepest feature, (1, D).
        logits (Tensor): The deepest logits, (1, K).
    """

    input_size: tuple
    maps: List[Tensor]
    feature: Tensor
    logits: Tensor

    @property
    def num_classes(self) -> int:
        """Classes, K."""
        return self.logits.shape[1]

    def head_shapes(self) -> List[dict]:
        """What :func:`complete_exit_head` needs, for each shallow exit."""
        deepest = max(self.maps[-1].shape[2:])
        return [
            dict(
                in_channels=x.shape[1],
                out_channels=self.feature.shape[1],
                num_classes=self.num_classes,
                downsample=max(1, round(max(x.shape[2:]) / deepest)),
            )
            for x in self.maps[:-1]
        ]

    def check_heads(self, heads: nn.ModuleList, losses: nn.ModuleList) -> None:
        """Run every head once on its feature map.

        Raises:
            ConfigError: A head cannot take it, or answers with other shapes.
        """
        for i, (head, x) in enumerate(zip(heads, self.maps), start=1):
            name = f'exit head {i} ({type(head).__name__})'
            where = f'feature map {tuple(x.shape)}, that of input_size={self.input_size}'
            try:
                with eval_no_grad(head):
                    feature, logits = head(x)
            except (RuntimeError, TypeError, ValueError) as e:
                raise ConfigError(
                    f'{name} cannot take the {where}: {str(e).splitlines()[0]}'
                ) from e
            if logits.shape != self.logits.shape:
                raise ConfigError(
                    f'{name} returns logits {tuple(logits.shape)} for the {where}; '
                    f'{tuple(self.logits.shape)} is needed'
                )
            if 'hint_loss' in losses[i - 1] and feature.shape != self.feature.shape:
                raise ConfigError(
                    f'{name} returns a feature {tuple(feature.shape)}; the hint loss needs '
                    f"{tuple(self.feature.shape)}, the shape of the deepest exit's (or set "
                    'hint_loss=None)'
                )


def probe_shapes(architecture: BaseModel, input_size: Union[int, Sequence[int]]) -> ShapeProbe:
    """Run the classifier once on an empty image and note what comes out.

    Args:
        architecture (BaseModel): The classifier.
        input_size (int | Sequence[int]): S, (H, W) or (C, H, W).

    Raises:
        ConfigError: It has fewer than two sections, or no flat feature.
    """
    size = image_size(input_size)
    maps, feature = run_sections(architecture, size)
    try:
        with eval_no_grad(architecture):
            logits = architecture.head((feature,))
    except RuntimeError as e:
        raise ConfigError(
            f'the head {type(architecture.head).__name__} cannot take the {feature.shape[1]} '
            f'channels of {type(architecture.backbone).__name__}: set its '
            f'in_channels={feature.shape[1]}, or None to have them found'
        ) from e
    return ShapeProbe(size, maps, feature, logits)


def run_sections(
    architecture: BaseModel, size: Tuple[int, int, int]
) -> Tuple[List[Tensor], Tensor]:
    """Run backbone and neck on an empty image.

    Args:
        architecture (BaseModel): The classifier; it may still lack a head.
        size (tuple): (C, H, W) of the image.

    Returns:
        tuple: Feature map of each section, (1, C_i, H_i, W_i), and the deepest feature, (1, D).

    Raises:
        ConfigError: These are not what comes out.
    """
    backbone = architecture.backbone
    name = type(backbone).__name__
    with eval_no_grad(architecture):
        device = next(architecture.parameters()).device
        try:
            maps = list(backbone(torch.zeros(1, *size, device=device)))
        except (AttributeError, RuntimeError, IndexError) as e:
            raise ConfigError(
                f'{name} cannot run with out_indices={getattr(backbone, "out_indices", None)} on '
                f'an image of {size}: {e}'
            ) from e
        asked = tuple(getattr(backbone, 'out_indices', maps))
        if len(maps) < 2 or len(maps) != len(asked):
            raise ConfigError(
                f'{name} returns {len(maps)} feature maps for {len(asked)} sections: at least two, '
                'and only stages it has, make sections'
            )
        if any(x.ndim != 4 for x in maps):
            raise ConfigError(
                f'{name} returns {[tuple(x.shape) for x in maps]}; sections need feature maps (N, '
                'C, H, W)'
            )
        pooled = tuple(maps[-1:])
        if architecture.with_neck:
            pooled = architecture.neck(pooled)
    if pooled[-1].ndim != 2:
        raise ConfigError(
            f'the deepest feature has shape {tuple(pooled[-1].shape)}, not (N, D): give the '
            'architecture a neck, such as GlobalAveragePooling'
        )
    return maps, pooled[-1]


@contextlib.contextmanager
def eval_no_grad(module: nn.Module) -> Iterator[None]:
    """Evaluate without gradients, and leave every module as it was."""
    training = {m: m.training for m in module.modules()}
    # mmpretrain's backbones return None from eval(), and may freeze layers.
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for m, mode in training.items():
            m.training = mode


def image_size(input_size: Union[int, Sequence[int]]) -> Tuple[int, int, int]:
    """Spell out the size of an image.

    Args:
        input_size (int | Sequence[int]): S, (H, W) or (C, H, W).

    Returns:
        tuple: (C, H, W); C is 3 where it is not given.

    Raises:
        ConfigError: It is none of the three.
    """
    size = (input_size,) if isinstance(input_size, int) else tuple(input_size)
    size = {1: (3, *size, *size), 2: (3, *size), 3: size}.get(len(size))
    if size is None or min(size) < 1:
        raise ConfigError(f'input_size={input_size}: give S, (H, W) or (C, H, W), all positive')
    return size
