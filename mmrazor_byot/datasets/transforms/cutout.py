"""Cutout, each image at its own place, and other boxes in images."""

from typing import Dict, List, Sequence, Tuple, Union

import numpy as np
import torch
from mmpretrain.datasets import Cutout

from mmrazor_byot.registry import TRANSFORMS

from .base import (
    BatchTransform,
    OpGroup,
    Shape,
    Step,
    broadcast_setting,
    reference_transform,
    uniform,
)


@TRANSFORMS.register_module()
class BatchCutout(BatchTransform):
    """mmpretrain's ``Cutout`` for a batch.

    Args:
        shape (int | tuple[int]): Height and width of the hole.
        pad_val (int | Sequence[int]): Its colour. Defaults to 128.
        prob (float): Chance of a hole. Defaults to 0.5.

    Raises:
        ConfigError: mmpretrain refuses the settings.
    """

    def __init__(
        self,
        shape: Union[int, Tuple[int, int]],
        pad_val: Union[int, Sequence[int]] = 128,
        prob: float = 0.5,
    ):
        reference = reference_transform(Cutout, shape, pad_val, prob)
        self.shape = broadcast_setting(reference.shape, 2, 'shape')
        color = broadcast_setting(reference.pad_val, 3, 'pad_val').astype(np.uint8)
        self.color = color.reshape(3, 1, 1)
        self.prob = reference.prob

    def draw(self, shape: Shape) -> List[Step]:
        """A box for each image, an empty one for those left out."""
        draws = uniform(shape[0], 3)
        boxes = cutout_boxes(draws[:, 1:], self.shape, shape[2:])
        boxes[draws[:, 0] >= self.prob] = 0
        return [Step(fill_boxes, dict(sides(boxes, shape[2:]), fill=self.color))]


def read_cutout(transform: Cutout) -> Tuple[float, ...]:
    """Settings of a policy's ``Cutout``: its colour and its fixed height and width.

    -1 if these are the magnitude.
    """
    shape = transform.shape
    fixed = (-1.0, -1.0) if shape is None or np.isscalar(shape) else shape
    return (*broadcast_setting(transform.pad_val, 3, 'pad_val'), *fixed)


def cutout_step(group: OpGroup) -> Step:
    """Cutout as one operation of a policy."""
    fixed = group.params[:, 3:5]
    shape = np.where(fixed < 0, group.magnitude[:, None], fixed).astype(np.int64)
    boxes = cutout_boxes(uniform(len(shape), 2), shape, group.size)
    return Step(fill_boxes, dict(sides(boxes, group.size), fill=group.colors))


def cutout_boxes(places: np.ndarray, shape: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Boxes as ``mmcv.cutout`` places them, int64 (N, 4), see :func:`sides`.

    Args:
        places (np.ndarray): Two numbers from [0, 1) for each, (N, 2).
        shape (np.ndarray): Height and width of each box, (N, 2) int.
        size (tuple): Height and width of the images.
    """
    size = np.array(size)
    # MMCV calls np.random.uniform(H): low=H, high=1, so (1, H].
    center = size - places * (size - 1)
    start = np.maximum(center - shape / 2.0, 0).astype(np.int64)
    return np.hstack([start, np.minimum(start + shape, size)])


def sides(boxes: np.ndarray, size: Tuple[int, int]) -> Dict[str, np.ndarray]:
    """Which rows and columns each box covers.

    Args:
        boxes (np.ndarray): Top, left, bottom, right of each, (N, 4); the last two are just outside.
        size (tuple): Height and width of the images.

    Returns:
        dict: ``rows`` (N, 1, H, 1) and ``columns`` (N, 1, 1, W), uint8: 1 if covered, else 0.
    """
    first, length = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    # What lies before the first is a very large number without a sign.
    rows, columns = (
        (np.arange(count) - first[:, i : i + 1]).view(np.uint64)
        < length[:, i : i + 1].astype(np.uint64)
        for i, count in enumerate(size)
    )
    return dict(
        rows=rows.view(np.uint8)[:, None, :, None], columns=columns.view(np.uint8)[:, None, None]
    )


def fill_boxes(
    images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, fill: torch.Tensor
) -> torch.Tensor:
    """Fill each image's box, see :func:`sides`.

    Images are uint8 (N, C, H, W); ``fill`` is a colour (C, 1, 1), or one for each image (N, C, 1,
    1).
    """
    # Modulo 256 this is exact, and much quicker than torch.where on bytes.
    return (fill - images).mul_(rows * columns).add_(images)
