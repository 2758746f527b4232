"""What batch transforms have in common: draw on the CPU, act on the device."""

from abc import ABC, abstractmethod
from typing import Any, Callable, List, NamedTuple, Sequence, Tuple

import numpy as np
import torch

from mmrazor_byot.errors import ConfigError, DatasetError

from .transfer import Draws, to_device

Shape = Tuple[int, int, int, int]


class Step(NamedTuple):
    """Work for the device: a pure function and the numbers drawn for it.

    ``kernel(images, **draws)`` answers the new images; the draws are arrays
    here and tensors on the images' device there.
    """

    kernel: Callable
    draws: Draws = {}


class BatchTransform(ABC):
    """Base of the batch transforms: ``images -> images``.

    Images are uint8 (N, 3, H, W) on any device; each gets its own random
    numbers. These are drawn on the CPU, from torch's global generator, so a
    seed says what comes whatever the device. :meth:`draw` lays down the
    steps, which the device takes without the host waiting for it.
    """

    @abstractmethod
    def draw(self, shape: Shape) -> List[Step]:
        """Draw for a batch.

        Args:
            shape (tuple): Of the images, (N, 3, H, W).

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
        check_images(images, type(self).__name__)
        return take_steps(images, self.draw(tuple(images.shape)))


def take_steps(images: torch.Tensor, steps: Sequence[Step]) -> torch.Tensor:
    """Take drawn steps; all that was drawn moves in one copy.

    Args:
        images (torch.Tensor): (N, 3, H, W).
        steps (Sequence[Step]): See :meth:`BatchTransform.draw`.

    Returns:
        torch.Tensor: The images after the last step.
    """
    draws = to_device([step.draws for step in steps], images.device)
    for step, tensors in zip(steps, draws):
        images = step.kernel(images, **tensors)
    return images


def uniform(*shape: int) -> np.ndarray:
    """Numbers from [0, 1), float64, from torch's global generator."""
    return torch.rand(shape, dtype=torch.float64).numpy()


def check_images(images: torch.Tensor, name: str) -> None:
    """Refuse what is no batch of uint8 RGB images."""
    if images.dtype != torch.uint8 or images.dim() != 4 or images.size(1) != 3:
        raise DatasetError(
            f'{name}: images are {images.dtype} of shape '
            f'{tuple(images.shape)}; it takes torch.uint8 (N, 3, H, W), so '
            'put it before the normalisation'
        )


def rule(kind: Callable, *args, **kwargs) -> Any:
    """mmpretrain's or mmcv's own transform, asked for its settings.

    So defaults and checks are theirs.

    Args:
        kind (Callable): The transform's class.
        *args: Its settings.
        **kwargs: Its settings.

    Raises:
        ConfigError: They refused the settings.
    """
    try:
        return kind(*args, **kwargs)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as e:
        raise ConfigError(f'{kind.__name__} refused its settings: {e or args or kwargs}') from e


def several(value, count: int, name: str) -> np.ndarray:
    """A setting that is one number for all, or one for each.

    Args:
        value: The number or numbers.
        count (int): How many there are to be.
        name (str): Of the setting, for the message.

    Returns:
        np.ndarray: (count,).

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
    color = several(value, 3, name)
    return color * [1, 0, 0] if np.isscalar(value) else color
