"""A look at a built classifier: what comes out of its sections."""

import contextlib
from typing import Iterator, List, NamedTuple, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.structures import image_size


class NetworkView(NamedTuple):
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
                with looking(head):
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


def look_at(architecture: BaseModel, input_size: Union[int, Sequence[int]]) -> NetworkView:
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
        with looking(architecture):
            logits = architecture.head((feature,))
    except RuntimeError as e:
        raise ConfigError(
            f'the head {type(architecture.head).__name__} cannot take the {feature.shape[1]} '
            f'channels of {type(architecture.backbone).__name__}: set its '
            f'in_channels={feature.shape[1]}, or None to have them found'
        ) from e
    return NetworkView(size, maps, feature, logits)


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
    with looking(architecture):
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
def looking(module: nn.Module) -> Iterator[None]:
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
