"""Affine warps, with the arithmetic of OpenCV 5's ``warpAffine``.

(OpenCV 4 rounds coordinates to 1/1024 of a pixel, or 1/32 when it
interpolates: there the nearest pixel is another one for about 1 in 1,000.)
"""
from typing import Dict, Tuple

import numpy as np
import torch

from .crop import pad

#: How to sample between pixels. For each tap (T): coefficients of its weight,
#: a cubic in the place t between two pixels, from t^0 to t^3, and its offset
#: from the lower one. Shape (5, T, 1, 1). Cubic convolution is with A = -0.75.
TAPS = {
    name: np.float32(rows).T.reshape(5, -1, 1, 1)
    for name, rows in dict(
        linear=[(1, -1, 0, 0, 0), (0, 1, 0, 0, 1)],
        cubic=[(0, -.75, 1.5, -.75, -1), (1, 0, -2.25, 1.25, 0),
               (0, .75, 1.5, -1.25, 1), (0, 0, -.75, .75, 2)]).items()
}


def inverse(matrices: np.ndarray) -> np.ndarray:
    """From places in the answer to places in the image.

    Args:
        matrices (np.ndarray): From the image to the answer, float64
            (N, 2, 3).

    Returns:
        np.ndarray: float32 (N, 2, 3).
    """
    (a, b, x), (c, d, y) = matrices.transpose(1, 2, 0)
    unit = a * d - b * c
    unit = np.divide(1., unit, out=np.zeros_like(unit), where=unit != 0)
    a, b, c, d = d * unit, -b * unit, -c * unit, a * unit
    rows = [a, b, -a * x - b * y, c, d, -c * x - d * y]
    return np.stack(rows, 1).astype(np.float32).reshape(-1, 2, 3)


def lines(matrices: np.ndarray, height: int) -> Dict[str, np.ndarray]:
    """Where in the image each row of the answer begins and how it goes on.

    Args:
        matrices (np.ndarray): See :func:`inverse`.
        height (int): Of the images.

    Returns:
        dict: ``slope`` (N, 2, 1, 1) and ``start`` (N, 2, H, 1), x and y,
        float64 of float32 precision.
    """
    along, down, first = matrices[:, :, None].transpose(3, 0, 1, 2)
    start = down * np.arange(height, dtype=np.float32) + first
    return dict(
        slope=along[..., None].astype(np.float64),
        start=start[..., None].astype(np.float64))


def places(slope: torch.Tensor, start: torch.Tensor,
           width: int) -> torch.Tensor:
    """Where in the image each pixel of the answer lies.

    Args:
        slope (torch.Tensor): See :func:`lines`.
        start (torch.Tensor): Likewise.
        width (int): Of the images.

    Returns:
        torch.Tensor: x and y, float32 (N, 2, H, W).
    """
    across = torch.arange(width, device=slope.device)
    return (slope * across).add(start).float()


def warp_nearest(images: torch.Tensor, slope: torch.Tensor,
                 start: torch.Tensor, color: torch.Tensor) -> torch.Tensor:
    """Warp, each pixel the nearest one.

    Args:
        images (torch.Tensor): uint8 (N, C, H, W).
        slope (torch.Tensor): See :func:`lines`.
        start (torch.Tensor): Likewise.
        color (torch.Tensor): From outside, uint8 (N, C, 1, 1).

    Returns:
        torch.Tensor: uint8 (N, C, H, W).
    """
    height, width = images.shape[2:]
    x, y = places(slope, start, width).round_().unbind(1)
    index = _column(x, width).add_(_row(y, height, width))
    return _take(images, color, index[:, None]).view(images.shape)


def warp_smooth(images: torch.Tensor, slope: torch.Tensor,
                start: torch.Tensor, color: torch.Tensor, taps: torch.Tensor,
                axes: str) -> torch.Tensor:
    """Warp, each pixel a weighted sum of those around.

    Args:
        images (torch.Tensor): uint8 (N, C, H, W).
        slope (torch.Tensor): See :func:`lines`.
        start (torch.Tensor): Likewise.
        color (torch.Tensor): From outside, uint8 (N, C, 1, 1).
        taps (torch.Tensor): See :data:`TAPS`.
        axes (str): 'xy', or the only axis along which pixels move.

    Returns:
        torch.Tensor: uint8 (N, C, H, W).
    """
    height, width = images.shape[2:]
    x, y = places(slope, start, width).split(1, 1)
    weights = torch.ones_like(x)
    if 'x' in axes:
        x, weights = _spread(x, taps)
    x = _column(x, width)
    if axes == 'x':
        y = _row(y, height, width)
        total = _weighted(images, color, x + y, weights)
    elif axes == 'y':
        y, weights = _spread(y, taps)
        total = _weighted(images, color, x + _row(y, height, width), weights)
    else:
        y, weights_y = _spread(y, taps)
        rows = _row(y, height, width).split(1, 1)
        total = sum(
            _weighted(images, color, x + row, weights * weight)
            for row, weight in zip(rows, weights_y.split(1, 1)))
    return total.round_().clamp_(0, 255).to(torch.uint8)


def _spread(place: torch.Tensor,
            taps: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Pixels around places (N, 1, H, W) and their weights, (N, T, H, W)."""
    first = place.floor()
    t = place - first
    one, linear, square, cube, offset = taps
    weights = (cube * t).add_(square).mul_(t).add_(linear).mul_(t).add_(one)
    return first + offset, weights


# Numbers of pixels in images with a frame of one pixel, which all that is
# outside becomes. Exact in float32 up to 4,094 x 4,094 pixels.
def _column(x: torch.Tensor, width: int) -> torch.Tensor:
    return x.clamp_(-1, width).add_(1)


def _row(y: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return y.clamp_(-1, height).add_(1).mul_(width + 2)


def _weighted(images: torch.Tensor, color: torch.Tensor, index: torch.Tensor,
              weights: torch.Tensor) -> torch.Tensor:
    """Sums over taps, (N, C, H, W) of index and weights (N, T, H, W)."""
    return (_take(images, color, index) * weights[:, None]).sum(2)


def _take(images: torch.Tensor, color: torch.Tensor,
          index: torch.Tensor) -> torch.Tensor:
    """Pixels (N, C, T, H, W) of numbers (N, T, H, W)."""
    framed = pad(images, color, (1, 1, 1, 1)).flatten(2)
    n, channels = images.shape[:2]
    numbers = index.long().view(n, 1, -1).expand(-1, channels, -1)
    return framed.gather(2, numbers).view(n, channels, *index.shape[1:])
