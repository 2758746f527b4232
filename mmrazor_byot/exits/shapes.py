"""Shapes of a network's sections, found by running it on an image of zeros."""

import contextlib
import math
from typing import Any, Iterator, List, Mapping, NamedTuple, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError

from .method import SectionOutput

InputSize = Union[int, Sequence[int]]


class ShapeProbe(NamedTuple):
    """Outputs of a network for an image of zeros, to read shapes from."""

    input_size: Tuple[int, int, int]  # (C, H, W)
    sections: SectionOutput  # of one image
    deepest_size: int  # the larger side of the deepest feature map

    @property
    def num_classes(self) -> int:
        """Number of classes, K."""
        return self.sections.logits.shape[1]

    @property
    def num_exits(self) -> int:
        """Number of exits, C."""
        return len(self.sections.maps) + 1

    @property
    def feature_channels(self) -> int:
        """Channels of the deepest feature, D."""
        return self.sections.feature.shape[1]

    def head_shapes(self) -> List[dict]:
        """Arguments of :func:`fitting_shapes` for each shallow exit."""
        return [
            dict(
                in_channels=x.shape[1],
                out_channels=self.feature_channels,
                num_classes=self.num_classes,
                downsample=max(1, round(max(x.shape[2:]) / self.deepest_size)),
            )
            for x in self.sections.maps
        ]

    def check_heads(
        self, heads: Sequence[nn.Module], losses: Sequence[Mapping[str, object]]
    ) -> None:
        """ConfigError if an exit head cannot take its feature map, or returns other shapes."""
        _, deepest_feature, deepest_logits = self.sections
        for i, (head, own_losses, x) in enumerate(zip(heads, losses, self.sections.maps), start=1):
            name = f'exit head {i} ({type(head).__name__})'
            source = f'feature map {tuple(x.shape)}, that of input_size={self.input_size}'
            try:
                with eval_no_grad(head):
                    feature, logits = head(x)
            except (RuntimeError, TypeError, ValueError) as e:
                raise ConfigError(
                    f'{name} cannot take the {source}: {str(e).splitlines()[0]}'
                ) from e
            if logits.shape != deepest_logits.shape:
                raise ConfigError(
                    f'{name} returns logits {tuple(logits.shape)} for the {source}; '
                    f'{tuple(deepest_logits.shape)} is needed'
                )
            if 'hint_loss' in own_losses and feature.shape != deepest_feature.shape:
                raise ConfigError(
                    f'{name} returns a feature {tuple(feature.shape)}; the hint loss needs '
                    f"{tuple(deepest_feature.shape)}, the shape of the deepest exit's (or set "
                    'hint_loss=None)'
                )


class DeepestSize:
    """A forward hook of all modules that notes the size of the deepest feature map.

    It is that of the last map before global pooling; convolutions and norms may follow this.

    Args:
        size (tuple[int, int, int]): (C, H, W) of the image.
    """

    def __init__(self, size: Tuple[int, int, int]) -> None:
        self.image_size, self.value, self._pooled = size, 1, False

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            return
        channels_last = is_channels_last(output, self.image_size)
        size = max(output.shape[1:3] if channels_last else output.shape[2:])
        name = type(module).__name__
        is_global = 'Adaptive' in name or 'Global' in name
        self._pooled = size == 1 and (is_global or self._pooled)
        if 'Pool' not in name and not self._pooled:
            self.value = size


def is_channels_last(x: Tensor, size: Tuple[int, int, int]) -> bool:
    """Whether a map is (N, H, W, C): its height and width are then in the ratio of the image's."""

    def misfit(height: int, width: int) -> float:
        return abs(math.log(height / width * size[2] / size[1]))

    return misfit(*x.shape[1:3]) + 0.1 < misfit(*x.shape[2:4])  # sides are rounded


@contextlib.contextmanager
def eval_no_grad(module: nn.Module) -> Iterator[None]:
    """Set eval mode and disable gradients; restore the mode of every module afterwards."""
    training = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        # Not train(), which may freeze layers in mmpretrain's backbones.
        for m, mode in training.items():
            m.training = mode


def image_size(input_size: InputSize) -> Tuple[int, int, int]:
    """Expand S, (H, W) or (C, H, W) to (C, H, W), with 3 channels by default."""
    numbers = tuple(input_size) if isinstance(input_size, Sequence) else (input_size,)
    if len(numbers) not in (1, 2, 3) or not all(isinstance(n, int) and n >= 1 for n in numbers):
        raise ConfigError(f'input_size={input_size}: give S, (H, W) or (C, H, W), all positive')
    if len(numbers) == 1:
        numbers *= 2
    channels, height, width = (3, *numbers)[-3:]
    return channels, height, width
