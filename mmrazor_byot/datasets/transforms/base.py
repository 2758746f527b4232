"""Base of the batch transforms: random numbers on the CPU, images on their own device."""

from abc import ABC, abstractmethod
from typing import Any, Callable, Sequence, Tuple, Union

import numpy as np
import torch

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import TRANSFORMS

#: An operation of an augmentation policy: ``(images, magnitude, params) -> images``, for images,
#: uint8 (N, 3, H, W), with magnitudes (N,) and params (N, P).
Kernel = Callable[[torch.Tensor, np.ndarray, np.ndarray], torch.Tensor]


class BatchTransform(ABC):
    """Base of the batch transforms.

    Images are uint8 (N, 3, H, W) on any device; each gets its own random numbers. They are drawn on
    the CPU, from torch's global generator, so a seed gives the same numbers on every device. The
    host never waits for the device.
    """

    @abstractmethod
    def transform(self, images: torch.Tensor) -> torch.Tensor:
        """Transform images, uint8 (N, 3, H, W), without changing the input."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Check images, uint8 (N, 3, H, W), and transform them to uint8 (N, 3, H', W').

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
    """Compose several batch transforms.

    Args:
        transforms (Sequence[BatchTransform | dict]): Transforms or their configs.
    """

    def __init__(self, transforms: Sequence[Union[BatchTransform, dict]]) -> None:
        self.transforms = [TRANSFORMS.build(t) if isinstance(t, dict) else t for t in transforms]

    def transform(self, images: torch.Tensor) -> torch.Tensor:
        for transform in self.transforms:
            images = transform(images)
        return images


def uniform(*shape: int) -> np.ndarray:
    """Numbers from [0, 1), float64, from torch's global generator."""
    return torch.rand(shape, dtype=torch.float64).numpy()


def to_device(array: np.ndarray, images: torch.Tensor) -> torch.Tensor:
    """Copy an array to the device of the images, without waiting for a GPU."""
    tensor = torch.from_numpy(array)
    if images.is_cuda:
        tensor = tensor.pin_memory()
    return tensor.to(images.device, non_blocking=True)


def per_sample(values: np.ndarray, images: torch.Tensor) -> torch.Tensor:
    """Numbers (N,) or colors (N, 3) as (N, 1 or 3, 1, 1), to broadcast to images."""
    return to_device(values.reshape(len(values), -1, 1, 1), images)


def pad(
    images: torch.Tensor, color: torch.Tensor, borders: Tuple[int, int, int, int]
) -> torch.Tensor:
    """Pad images (N, C, H, W) left, top, right and bottom with colors ([N, ]C, 1, 1)."""
    n, channels, height, width = images.shape
    left, top, right, bottom = borders
    padded = color.expand(n, channels, height + top + bottom, width + left + right).contiguous()
    padded[:, :, top : top + height, left : left + width] = images
    return padded


def reference_transform(kind: Callable[..., Any], *args: Any) -> Any:
    """Build mmpretrain's or MMCV's own transform, which checks and completes the settings."""
    try:
        return kind(*args)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as e:
        raise ConfigError(f'{kind.__name__} refused its settings: {e or args}') from e


def broadcast_setting(value: Any, count: int, name: str) -> np.ndarray:
    """Broadcast a setting, one number or ``count`` numbers, to (count,)."""
    numbers = np.asarray(value)
    if numbers.dtype.kind not in 'biuf' or numbers.shape not in ((), (1,), (count,)):
        raise ConfigError(f'{name}={value}: set one number, or {count}')
    return np.broadcast_to(numbers, count)


def opencv_color(value: Any, name: str) -> np.ndarray:
    """A border color, (3,), as in OpenCV: a single number sets only the first channel."""
    color = broadcast_setting(value, 3, name)
    return color * [1, 0, 0] if np.isscalar(value) else color
