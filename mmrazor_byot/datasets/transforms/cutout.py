"""Cutout of batches; each image has its own hole."""

from typing import Sequence, Tuple, Union

import numpy as np
import torch
from mmpretrain.datasets import Cutout

from mmrazor_byot.registry import TRANSFORMS

from .base import (
    BatchTransform,
    broadcast_setting,
    per_sample,
    reference_transform,
    to_device,
    uniform,
)


@TRANSFORMS.register_module()
class BatchCutout(BatchTransform):
    """mmpretrain's ``Cutout`` for a batch.

    Args:
        shape (int | tuple[int]): Height and width of the hole.
        pad_val (int | Sequence[int]): Color of the hole. Defaults to 128.
        prob (float): Probability of a hole. Defaults to 0.5.

    Raises:
        ConfigError: mmpretrain refuses the settings.
    """

    def __init__(
        self,
        shape: Union[int, Tuple[int, int]],
        pad_val: Union[int, Sequence[int]] = 128,
        prob: float = 0.5,
    ) -> None:
        reference = reference_transform(Cutout, shape, pad_val, prob)
        self.shape = broadcast_setting(reference.shape, 2, 'shape')
        self.color = broadcast_setting(reference.pad_val, 3, 'pad_val').astype(np.uint8)
        self.prob = reference.prob

    def transform(self, images: torch.Tensor) -> torch.Tensor:
        draws = uniform(len(images), 3)
        applied = draws[:, :1] < self.prob
        return cut(images, draws[:, 1:], self.shape * applied, self.color[None])


def read_cutout(transform: Cutout) -> Tuple[float, ...]:
    """Params of a policy's ``Cutout``: color, height and width; -1 if the magnitude sets these."""
    shape = transform.shape
    fixed = (-1.0, -1.0) if shape is None or np.isscalar(shape) else shape
    return (*broadcast_setting(transform.pad_val, 3, 'pad_val'), *fixed)


def cutout(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Kernel of Cutout; params (N, P) as from :func:`read_cutout`."""
    fixed = params[:, 3:5]
    shape = np.where(fixed < 0, magnitude[:, None], fixed).astype(np.int64)
    return cut(images, uniform(len(images), 2), shape, params[:, :3].astype(np.uint8))


def cut(
    images: torch.Tensor, draws: np.ndarray, shape: np.ndarray, color: np.ndarray
) -> torch.Tensor:
    """Fill a box of each image with a color, (N, 3) or (1, 3), as ``mmcv.cutout``.

    The draws for the centres (N, 2) are from [0, 1); the shapes (N, 2) are heights and widths.
    """
    size = np.array(images.shape[2:])
    # MMCV draws with np.random.uniform(H): low=H, high=1, so from (1, H].
    center = size - draws * (size - 1)
    start = np.maximum(center - shape / 2.0, 0).astype(np.int64)[..., None]
    stop = start + shape[..., None]
    rows, columns = (
        (np.arange(count) >= start[:, i]) & (np.arange(count) < stop[:, i])
        for i, count in enumerate(size)
    )
    hole = to_device(rows[:, None, :, None] & columns[:, None, None, :], images)
    # Exact modulo 256, and much faster than torch.where on uint8.
    return (per_sample(color, images) - images).mul_(hole).add_(images)
