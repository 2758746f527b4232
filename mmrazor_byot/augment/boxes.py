"""Boxes in images, one for each."""

from typing import Dict, Tuple

import numpy as np
import torch


def sides(boxes: np.ndarray, size: Tuple[int, int]) -> Dict[str, np.ndarray]:
    """Which rows and columns each box covers.

    Args:
        boxes (np.ndarray): Top, left, bottom, right of each, (N, 4); the last
            two are just outside.
        size (tuple): Height and width of the images.

    Returns:
        dict: ``rows`` (N, 1, H, 1) and ``columns`` (N, 1, 1, W), uint8: 1 if
        covered, else 0.
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
    """Fill each image's box.

    Args:
        images (torch.Tensor): uint8 (N, C, H, W).
        rows (torch.Tensor): See :func:`sides`.
        columns (torch.Tensor): Likewise.
        fill (torch.Tensor): uint8; a colour (C, 1, 1), or one for each image
            (N, C, 1, 1).

    Returns:
        torch.Tensor: uint8 (N, C, H, W).
    """
    # Modulo 256 this is exact, and much quicker than torch.where on bytes.
    return (fill - images).mul_(rows * columns).add_(images)


def cutout_boxes(places: np.ndarray, shape: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Boxes as ``mmcv.cutout`` places them.

    Args:
        places (np.ndarray): Two numbers from [0, 1) for each, (N, 2).
        shape (np.ndarray): Height and width of each box, (N, 2) int.
        size (tuple): Height and width of the images.

    Returns:
        np.ndarray: (N, 4) int64, see :func:`sides`.
    """
    size = np.array(size)
    # MMCV calls np.random.uniform(H): low=H, high=1, so (1, H].
    center = size - places * (size - 1)
    start = np.maximum(center - shape / 2.0, 0).astype(np.int64)
    return np.hstack([start, np.minimum(start + shape, size)])
