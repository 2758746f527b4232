"""What batch transforms have in common: draw on the CPU, compute on the device of the images."""

from abc import ABC, abstractmethod
from typing import Any, Callable, Sequence, Tuple, Union

import numpy as np
import torch

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import TRANSFORMS


class BatchTransform(ABC):
    """Base of the batch transforms: ``images -> images``.

    Images are uint8 (N, 3, H, W) on any device; each gets its own random numbers. These are drawn
    on the CPU, from torch's global generator, so a seed gives the same numbers whatever the device.
    The host never waits for the device.
    """

    @abstractmethod
    def transform(self, images: torch.Tensor) -> torch.Tensor:
        """Draw for images, uint8 (N, 3, H, W), and transform them; the given ones stay."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Transform a batch.

        Args:
            images (torch.Tensor): uint8 (N, 3, H, W). They are not changed.

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
        return self.transform(images)


@TRANSFORMS.register_module()
class BatchCompose(BatchTransform):
    """Batch transforms, one after the other.

    Args:
        transforms (Sequence[BatchTransform | dict]): Them, or their configs.
    """

    def __init__(self, transforms: Sequence[Union[BatchTransform, dict]]):
        self.transforms = [TRANSFORMS.build(t) if isinstance(t, dict) else t for t in transforms]

    def transform(self, images: torch.Tensor) -> torch.Tensor:
        for transform in self.transforms:
            images = transform(images)
        return images


def uniform(*shape: int) -> np.ndarray:
    """Numbers from [0, 1), float64, from torch's global generator."""
    return torch.rand(shape, dtype=torch.float64).numpy()


def to_device(array: np.ndarray, images: torch.Tensor) -> torch.Tensor:
    """An array on the device of the images; a GPU is not waited for."""
    tensor = torch.from_numpy(array)
    if images.is_cuda:
        tensor = tensor.pin_memory()
    return tensor.to(images.device, non_blocking=True)


def one_each(values: np.ndarray, images: torch.Tensor) -> torch.Tensor:
    """Numbers (N,), or colours (N, 3), to broadcast to images: (N, 1 or 3, 1, 1)."""
    return to_device(values.reshape(len(values), -1, 1, 1), images)


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
    """mmpretrain's or MMCV's own transform, so that defaults and checks are theirs.

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
    """A border's colour, (3,), as OpenCV takes it: a single number is the first channel's."""
    color = broadcast_setting(value, 3, name)
    return color * [1, 0, 0] if np.isscalar(value) else color
