"""What batch transforms have in common: draw on the CPU, act on the device."""

from abc import ABC, abstractmethod
from typing import Any, Callable, List, NamedTuple, Sequence, Tuple, Union

import numpy as np
import torch

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import TRANSFORMS

from .transfer import Draws, to_device

Shape = Tuple[int, int, int, int]


class Step(NamedTuple):
    """A pure function for the device and the numbers drawn for it.

    ``kernel(images, **draws)`` answers the new images; the draws are arrays here and tensors on the
    images' device there.
    """

    kernel: Callable
    draws: Draws = {}


class BatchTransform(ABC):
    """Base of the batch transforms: ``images -> images``.

    Images are uint8 (N, 3, H, W) on any device; each gets its own random numbers. These are drawn
    on the CPU, from torch's global generator, so a seed says what comes whatever the device.
    :meth:`draw` lays down the steps, which the device takes without the host waiting for it.
    """

    @abstractmethod
    def draw(self, shape: Shape) -> List[Step]:
        """Draw for a batch of images of a shape, (N, 3, H, W).

        Returns:
            list[Step]: What to do, in this order.
        """

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of the answer to images of this shape."""
        return shape

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Transform a batch.

        Args:
            images (torch.Tensor): uint8 (N, 3, H, W). Left as they are.

        Returns:
            torch.Tensor: uint8 (N, 3, H', W').

        Raises:
            DatasetError: Not a batch of uint8 images of three channels.
        """
        if images.dtype != torch.uint8 or images.dim() != 4 or images.size(1) != 3:
            raise DatasetError(
                f'{type(self).__name__}: images are {images.dtype} of shape {tuple(images.shape)}; '
                'it takes torch.uint8 (N, 3, H, W), so put it before the normalisation'
            )
        return take_steps(images, self.draw(tuple(images.shape)))


@TRANSFORMS.register_module()
class BatchCompose(BatchTransform):
    """Batch transforms, one after the other.

    It draws for all of them first, so that on a GPU all drawn numbers move in one copy.

    Args:
        transforms (Sequence[BatchTransform | dict]): Them, or their configs.
    """

    def __init__(self, transforms: Sequence[Union[BatchTransform, dict]]):
        self.transforms = [TRANSFORMS.build(t) if isinstance(t, dict) else t for t in transforms]

    def draw(self, shape: Shape) -> List[Step]:
        steps = []
        for transform in self.transforms:
            steps += transform.draw(shape)
            shape = transform.out_shape(shape)
        return steps

    def out_shape(self, shape: Shape) -> Shape:
        for transform in self.transforms:
            shape = transform.out_shape(shape)
        return shape


class OpGroup(NamedTuple):
    """The operations of one family drawn for some images, one for each."""

    counts: List[int]  # images of each kind of the family; they are in this order
    magnitude: np.ndarray  # with its sign, (N,)
    params: np.ndarray  # settings that the family reads, (N, P)
    size: Tuple[int, int]  # height and width of the images
    grey_weights: np.ndarray  # of the channels, (3, 1, 1)

    @property
    def colors(self) -> np.ndarray:
        """The first three settings as colours, uint8 (N, 3, 1, 1)."""
        return self.params[:, :3, None, None].astype(np.uint8)


def take_steps(images: torch.Tensor, steps: Sequence[Step]) -> torch.Tensor:
    """Images (N, 3, H, W) after drawn steps; all draws move in one copy."""
    draws = to_device([step.draws for step in steps], images.device)
    for step, tensors in zip(steps, draws):
        images = step.kernel(images, **tensors)
    return images


def uniform(*shape: int) -> np.ndarray:
    """Numbers from [0, 1), float64, from torch's global generator."""
    return torch.rand(shape, dtype=torch.float64).numpy()


def pad(
    images: torch.Tensor, color: torch.Tensor, borders: Tuple[int, int, int, int]
) -> torch.Tensor:
    """Put a frame of one colour around images (N, C, H, W).

    Args:
        images (torch.Tensor): (N, C, H, W).
        color (torch.Tensor): (C, 1, 1), or one for each, (N, C, 1, 1).
        borders (tuple): Pixels left, top, right, bottom.
    """
    n, channels, height, width = images.shape
    left, top, right, bottom = borders
    frame = color.expand(n, channels, height + top + bottom, width + left + right).contiguous()
    frame[:, :, top : top + height, left : left + width] = images
    return frame


def reference_transform(kind: Callable, *args) -> Any:
    """mmpretrain's or mmcv's own transform, so that defaults and checks are theirs.

    Args:
        kind (Callable): The transform's class.
        *args: Its settings.

    Raises:
        ConfigError: It refused the settings.
    """
    try:
        return kind(*args)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as e:
        raise ConfigError(f'{kind.__name__} refused its settings: {e or args}') from e


def broadcast_setting(value, count: int, name: str) -> np.ndarray:
    """A setting that is one number for all, or one for each, as (count,).

    Raises:
        ConfigError: It is neither.
    """
    numbers = np.asarray(value)
    if numbers.dtype.kind not in 'biuf' or numbers.shape not in ((), (1,), (count,)):
        raise ConfigError(f'{name}={value}: one number, or {count}')
    return np.broadcast_to(numbers, count)


def opencv_color(value, name: str) -> np.ndarray:
    """A border's colour, (3,), as OpenCV reads it.

    A single number fills the first channel only; the others get 0.
    """
    color = broadcast_setting(value, 3, name)
    return color * [1, 0, 0] if np.isscalar(value) else color
