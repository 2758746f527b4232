"""Random crops and flips of batches; each image has its own window and direction."""

from typing import Optional, Sequence, Union

import numpy as np
import torch
from mmcv.transforms import RandomFlip
from mmpretrain.datasets import RandomCrop

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import TRANSFORMS

from .base import BatchTransform, opencv_color, pad, reference_transform, to_device, uniform

#: Dimensions of (N, C, H, W) that are reversed.
DIRECTIONS = dict(horizontal=(3,), vertical=(2,), diagonal=(2, 3))


@TRANSFORMS.register_module()
class BatchRandomCrop(BatchTransform):
    """mmpretrain's ``RandomCrop`` for a batch.

    Unlike there, ``padding_mode`` also applies to ``padding`` (mmpretrain always pads with a
    constant), and images smaller than the crop are an error.

    Args:
        crop_size (int | Sequence[int]): Height and width of the crop.
        padding (int | Sequence[int], optional): Padding of all borders; of left/right and
            top/bottom; or of left, top, right and bottom.
        pad_if_needed (bool): Pad images that are smaller than the crop. Defaults to False.
        pad_val (Number | Sequence[Number]): Color of the padding. As in OpenCV, a single number
            sets only the first channel and the others are 0. Defaults to 0.
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
    ) -> None:
        reference = reference_transform(
            RandomCrop, crop_size, padding, pad_if_needed, pad_val, padding_mode
        )
        self.size = tuple(reference.crop_size)
        borders = 0 if reference.padding is None else reference.padding
        if np.shape(borders) not in ((), (2,), (4,)):
            raise ConfigError(
                f'RandomCrop refused its settings: padding={padding}: set one, two or four numbers'
            )
        self.borders = np.tile(borders, 4 // np.size(borders)).tolist()
        self.pad_if_needed = reference.pad_if_needed
        self.color = opencv_color(reference.pad_val, 'pad_val').astype(np.uint8)[:, None, None]
        self.mode = reference.padding_mode

    def transform(self, images: torch.Tensor) -> torch.Tensor:
        """Crop each image at a random position; all are equally probable."""
        images = self._pad(images)
        n, channels, height, width = images.shape
        positions = height - self.size[0] + 1, width - self.size[1] + 1
        if min(positions) < 1:
            raise DatasetError(
                f'BatchRandomCrop: images of {height} x {width} are smaller than the crop '
                f'of {self.size[0]} x {self.size[1]}; set padding or pad_if_needed'
            )
        top, left = (uniform(n, 2) * positions).astype(np.int64).T[..., None, None]
        image, channel, row = np.ogrid[:n, :channels, : self.size[0]]
        first = ((image * channels + channel) * height + top + row) * width + left
        # A view of all possible rows of a crop: one begins at each pixel.
        rows = images.reshape(-1).unfold(0, self.size[1], 1)
        return rows.index_select(0, to_device(first.ravel(), images)).view(n, channels, *self.size)

    def _pad(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[2:]
        left, top, right, bottom = self.borders
        if self.pad_if_needed:
            # Half of what is missing, rounded up.
            rows = max(0, self.size[0] - height - top - bottom + 1) // 2
            columns = max(0, self.size[1] - width - left - right + 1) // 2
            left, top, right, bottom = left + columns, top + rows, right + columns, bottom + rows
        if self.mode == 'constant':
            return pad(images, to_device(self.color, images), (left, top, right, bottom))
        rows = np.pad(np.arange(height), (top, bottom), self.mode)
        columns = np.pad(np.arange(width), (left, right), self.mode)
        rows, columns = to_device(rows, images), to_device(columns, images)
        return images.index_select(2, rows).index_select(3, columns)


@TRANSFORMS.register_module()
class BatchRandomFlip(BatchTransform):
    """MMCV's ``RandomFlip`` for a batch.

    Args:
        prob (float | list[float]): Probability of a flip, divided evenly among the directions; or
            the probability of each.
        direction (str | list[str]): 'horizontal', 'vertical', 'diagonal'. Defaults to 'horizontal'.

    Raises:
        ConfigError: MMCV refuses the settings.
    """

    def __init__(
        self,
        prob: Union[float, Sequence[float]],
        direction: Union[str, Sequence[str]] = 'horizontal',
    ) -> None:
        probs = reference_transform(RandomFlip, prob, direction).prob
        self.directions = (direction,) if isinstance(direction, str) else tuple(direction)
        if not isinstance(probs, list):
            probs = [probs / len(self.directions)] * len(self.directions)
        self.bounds = np.cumsum(probs)

    def transform(self, images: torch.Tensor) -> torch.Tensor:
        """Flip each image in one of the directions, or not at all."""
        n = len(images)
        choice = np.searchsorted(self.bounds, uniform(n), side='right')  # last: no flip
        flipped = [images.flip(DIRECTIONS[name]) for name in self.directions]
        index = to_device(choice * n + np.arange(n), images)
        return torch.cat([*flipped, images]).index_select(0, index)
