"""Random crops and flips, each image at its own place and in its own direction."""

from functools import lru_cache, partial
from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmcv.transforms import RandomFlip
from mmpretrain.datasets import RandomCrop

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import TRANSFORMS

from .base import BatchTransform, Shape, Step, opencv_color, pad, reference_transform, uniform

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

    def draw(self, shape: Shape) -> List[Step]:
        """A corner for each image, from all places with equal chance."""
        height, width = shape[2:]
        left, top, right, bottom = borders = self._pads(height, width)
        padded = (*shape[:2], height + top + bottom, width + left + right)
        places = [a - b + 1 for a, b in zip(padded[2:], self.size)]
        if min(places) < 1:
            raise DatasetError(
                f'BatchRandomCrop: images of {padded[2]} x {padded[3]} are smaller than the crop '
                f'of {self.size[0]} x {self.size[1]}; set padding or pad_if_needed'
            )
        corners = (uniform(shape[0], 2) * places).astype(np.int64)
        steps = []
        if any(borders):
            steps.append(self._pad(height, width, borders))
        if max(places) > 1:
            draws = dict(start=starts(corners, padded), offsets=offsets(padded[1:], self.size))
            steps.append(Step(partial(crop, size=self.size), draws))
        return steps

    def out_shape(self, shape: Shape) -> Shape:
        return (*shape[:2], *self.size)

    def _pads(self, height: int, width: int) -> Borders:
        if not self.pad_if_needed:
            return self.borders
        left, top, right, bottom = self.borders
        rows = max(0, self.size[0] - height - top - bottom)
        columns = max(0, self.size[1] - width - left - right)
        rows, columns = -(-rows // 2), -(-columns // 2)
        return left + columns, top + rows, right + columns, bottom + rows

    def _pad(self, height: int, width: int, borders: Borders) -> Step:
        if self.mode == 'constant':
            return Step(partial(pad, borders=borders), dict(color=self.color))
        left, top, right, bottom = borders
        rows = np.pad(np.arange(height), (top, bottom), self.mode)
        columns = np.pad(np.arange(width), (left, right), self.mode)
        return Step(take_lines, dict(rows=rows, columns=columns))


def _borders(padding) -> Borders:
    if padding is None or np.isscalar(padding):
        return (padding or 0,) * 4
    if np.shape(padding) not in ((2,), (4,)):
        raise ConfigError(
            f'RandomCrop refused its settings: padding={padding}: one, two or four numbers'
        )
    return tuple(padding) * (4 // len(padding))


def crop(
    images: torch.Tensor, start: torch.Tensor, offsets: torch.Tensor, size: Tuple[int, int]
) -> torch.Tensor:
    """Cut a window of one size, (h, w), out of each image (N, C, H, W).

    One gather of rows: the windows of all rows of all images are one view with overlapping rows.

    Args:
        images (torch.Tensor): (N, C, H, W).
        start (torch.Tensor): See :func:`starts`.
        offsets (torch.Tensor): See :func:`offsets`.
        size (tuple): Height and width of the window.
    """
    rows = images.reshape(-1).unfold(0, size[1], 1)
    chosen = rows.index_select(0, (start + offsets).view(-1))
    return chosen.view(*images.shape[:2], *size)


@lru_cache(maxsize=8)
def offsets(shape: Tuple[int, int, int], size: Tuple[int, int]) -> np.ndarray:
    """Where, after its first pixel, the rows of a window begin, int64 (C * h,).

    Args:
        shape (tuple): Of the images, (C, H, W).
        size (tuple): Height h and width of the window.
    """
    channels, height, width = shape
    planes = np.arange(channels)[:, None] * height
    return ((planes + np.arange(size[0])) * width).reshape(-1)


def starts(corners: np.ndarray, shape: Shape) -> np.ndarray:
    """Where, in a flat batch of a shape, the windows begin, int64 (N, 1).

    The corners are top and left of each, (N, 2).
    """
    n, channels, height, width = shape
    image = channels * height * width
    first = np.arange(0, n * image, image)
    return (first + corners[:, 0] * width + corners[:, 1])[:, None]


def take_lines(images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Images of chosen rows (H',) and columns (W',), (N, C, H', W')."""
    return images.index_select(2, rows).index_select(3, columns)


@TRANSFORMS.register_module()
class BatchRandomFlip(BatchTransform):
    """MMCV's ``RandomFlip`` for a batch.

    Args:
        prob (float | list[float]): Chance of a flip, shared evenly by the directions; or a chance
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
        chances = reference_transform(RandomFlip, prob, direction).prob
        self.directions = (direction,) if isinstance(direction, str) else tuple(direction)
        if not isinstance(chances, list):
            chances = [chances / len(self.directions)] * len(self.directions)
        self.bounds = np.cumsum(chances)

    def draw(self, shape: Shape) -> List[Step]:
        """For each image the number of a direction, or none."""
        n = shape[0]
        choice = np.searchsorted(self.bounds, uniform(n), side='right')
        turned = (choice + 1) % (len(self.directions) + 1)
        kernel = partial(flip, directions=self.directions)
        return [Step(kernel, dict(index=turned * n + np.arange(n)))]


def flip(images: torch.Tensor, index: torch.Tensor, directions: Sequence[str]) -> torch.Tensor:
    """Flip some images (N, C, H, W).

    ``index`` (N,) is i for image i as it is, d * N + i for image i in the d-th direction, counted
    from 1.
    """
    turned = [images.flip(DIRECTIONS[name]) for name in directions]
    return torch.cat([images, *turned]).index_select(0, index)
