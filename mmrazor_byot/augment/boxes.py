"""Boxes in images, one for each."""
from typing import Tuple

import numpy as np
import torch


def inside(boxes: torch.Tensor, size: Tuple[int, int]) -> torch.Tensor:
    """Which pixels lie in each image's box.

    Args:
        boxes (torch.Tensor): Top, left, bottom, right of each, (N, 4); the
            last two are just outside.
        size (tuple): Height and width of the images.

    Returns:
        torch.Tensor: 1 inside, else 0; uint8 (N, 1, H, W).
    """
    top, left, bottom, right = boxes[:, :, None].unbind(1)
    y = torch.arange(size[0], device=boxes.device)
    x = torch.arange(size[1], device=boxes.device)
    rows = ((y >= top) & (y < bottom)).to(torch.uint8)
    columns = ((x >= left) & (x < right)).to(torch.uint8)
    return (rows[:, :, None] * columns[:, None, :])[:, None]


def fill_boxes(images: torch.Tensor, boxes: torch.Tensor,
               fill: torch.Tensor) -> torch.Tensor:
    """Fill each image's box.

    Args:
        images (torch.Tensor): uint8 (N, C, H, W).
        boxes (torch.Tensor): (N, 4), see :func:`inside`.
        fill (torch.Tensor): uint8; a colour (C, 1, 1), one for each image
            (N, C, 1, 1) or whole images (N, C, H, W).

    Returns:
        torch.Tensor: uint8 (N, C, H, W).
    """
    mask = inside(boxes, images.shape[2:])
    # Modulo 256 this is exact, and much quicker than torch.where on bytes.
    return (fill - images).mul_(mask).add_(images)


def cutout_boxes(places: np.ndarray, shape: np.ndarray,
                 size: Tuple[int, int]) -> np.ndarray:
    """Boxes as ``mmcv.cutout`` places them.

    Args:
        places (np.ndarray): Two numbers from [0, 1) for each, (N, 2).
        shape (np.ndarray): Height and width of each box, (N, 2) int.
        size (tuple): Height and width of the images.

    Returns:
        np.ndarray: (N, 4) int64, see :func:`inside`.
    """
    size = np.array(size)
    # MMCV calls np.random.uniform(H): low=H, high=1, so (1, H].
    center = size - places * (size - 1)
    start = np.maximum(center - shape / 2., 0).astype(np.int64)
    return np.hstack([start, np.minimum(start + shape, size)])
