"""Random crops and flips, each image at its own place and in its own direction."""

from typing import Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmcv.transforms import RandomFlip
from mmpretrain.datasets import RandomCrop

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import TRANSFORMS

from .base import BatchTransform, opencv_color, pad, reference_transform, to_device, uniform

Borders = Tuple[int, int, int, int]  # left, top, right, bottom

#: Which dimensions of (N, C, H, W) each direction reverses.
DIRECTIONS = dict(horizontal=(3,), vertical=(2,), diagonal=(2, 3))


@TRANSFORMS.register_module()
class BatchRandomCrop(BatchTransform):
    """mmpretrain's ``RandomCrop`` for a batch.

    ``padding_mode`` holds for ``padding`` too (mmpretrain pads with a constant there, whatever the
    mode), and images that are too small are an error.

    Args:
        crop_size (int | Sequence[int]): Height and width of the crop.
        padding (int | Sequence[int], optional): Added to all borders; or to left/right, top/bottom;
            or to left, top, right, bottom.
        pad_if_needed (bool): Pad images that are smaller than the crop. Defaults to False.
        pad_val (Number | Sequence[Number]): Colour of the padding. As OpenCV has it, a single
            number is the first channel's and the others get 0: give three to be sure. Defaults to
            0.
        padding_mode (str): 'constant', 'edge', 'reflect' or 'symmetric'. Defaults to 'constant'.

    Raises:
        ConfigError: mmpretrain refuses the settings.
    """

    def __init__(
        self,
        crop_size: Union[int, Sequence[int]],
        padding: Optional[Union[int, Sequence[int]]] = None,
        pad_if_needed: bool = False,
        pad_val: Union[float, Sequence[float]] = 0,
        padding_mode: str = 'constant',
    ):
        reference = reference_transform(
            RandomCrop, crop_size, padding, pad_if_needed, pad_val, padding_mode
        )
        self.size = tuple(reference.crop_size)
        self.borders = _borders(reference.padding)
        self.pad_if_needed = reference.pad_if_needed
        color = opencv_color(reference.pad_val, 'pad_val').astype(np.uint8)
        self.color = color.reshape(3, 1, 1)
        self.mode = reference.padding_mode

    def transform(self, images: torch.Tensor) -> torch.Tensor:
        """A window of each image, from all places with equal probability."""
        images = self._pad(images)
        n, channels, height, width = images.shape
        places = height - self.size[0] + 1, width - self.size[1] + 1
        if min(places) < 1:
            raise DatasetError(
                f'BatchRandomCrop: images of {height} x {width} are smaller than the crop '
                f'of {self.size[0]} x {self.size[1]}; set padding or pad_if_needed'
            )
        top, left = (uniform(n, 2) * places).astype(np.int64).T[..., None, None]
        image, channel, row = np.ogrid[:n, :channels, : self.size[0]]
        first = ((image * channels + channel) * height + top + row) * width + left
        # A view of overlapping rows: each begins one pixel after the one before.
        rows = images.reshape(-1).unfold(0, self.size[1], 1)
        return rows.index_select(0, to_device(first.ravel(), images)).view(n, channels, *self.size)

    def _pad(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[2:]
        left, top, right, bottom = self.borders
        if self.pad_if_needed:
            rows = max(0, self.size[0] - height - top - bottom)
            columns = max(0, self.size[1] - width - left - right)
            rows, columns = -(-rows // 2), -(-columns // 2)
            left, top, right, bottom = left + columns, top + rows, right + columns, bottom + rows
        if self.mode == 'constant':
            return pad(images, to_device(self.color, images), (left, top, right, bottom))
        rows = np.pad(np.arange(height), (top, bottom), self.mode)
        columns = np.pad(np.arange(width), (left, right), self.mode)
        rows, columns = to_device(rows, images), to_device(columns, images)
        return images.index_select(2, rows).index_select(3, columns)


def _borders(padding) -> Borders:
    if padding is None or np.isscalar(padding):
        return (padding or 0,) * 4
    if np.shape(padding) not in ((2,), (4,)):
        raise ConfigError(
            f'RandomCrop refused its settings: padding={padding}: one, two or four numbers'
        )
    return tuple(padding) * (4 // len(padding))


@TRANSFORMS.register_module()
class BatchRandomFlip(BatchTransform):
    """MMCV's ``RandomFlip`` for a batch.

    Args:
        prob (float | list[float]): Probability of a flip, shared evenly by the directions; or one
            for each.
        direction (str | list[str]): 'horizontal', 'vertical', 'diagonal'. Defaults to 'horizontal'.

    Raises:
        ConfigError: MMCV refuses the settings.
    """

    def __init__(
        self,
        prob: Union[float, Sequence[float]],
        direction: Union[str, Sequence[str]] = 'horizontal',
    ):
        probs = reference_transform(RandomFlip, prob, direction).prob
        self.directions = (direction,) if isinstance(direction, str) else tuple(direction)
        if not isinstance(probs, list):
            probs = [probs / len(self.directions)] * len(self.directions)
        self.bounds = np.cumsum(probs)

    def transform(self, images: torch.Tensor) -> torch.Tensor:
        """Each image in one of the directions, or as it is."""
        n = len(images)
        choice = np.searchsorted(self.bounds, uniform(n), side='right')  # past the end: none
        turned = [images.flip(DIRECTIONS[name]) for name in self.directions]
        index = to_device(choice * n + np.arange(n), images)
        return torch.cat([*turned, images]).index_select(0, index)
