"""Rotations, shears and translations, with the arithmetic of OpenCV 5's ``warpAffine``.

(OpenCV 4 rounds coordinates to 1/1024 of a pixel, or 1/32 when it interpolates: there the nearest
pixel is another one for about 1 in 1,000.)
"""

from functools import partial
from typing import NamedTuple, Tuple

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmrazor_byot.errors import ConfigError

from .base import OpGroup, Step, broadcast_setting, opencv_color, pad

#: How to sample between pixels. For each tap (T): coefficients of its weight, a cubic in the place
#: t between two pixels, from t^0 to t^3, and its offset from the lower one. Shape (5, T, 1, 1).
#: Cubic convolution is with A = -0.75.
TAPS = {
    name: np.float32(rows).T.reshape(5, -1, 1, 1)
    for name, rows in dict(
        linear=[(1, -1, 0, 0, 0), (0, 1, 0, 0, 1)],
        cubic=[
            (0, -0.75, 1.5, -0.75, -1),
            (1, 0, -2.25, 1.25, 0),
            (0, 0.75, 1.5, -1.25, 1),
            (0, 0, -0.75, 0.75, 2),
        ],
    ).items()
}
#: Taps of each way to sample, and the axes along which pixels move.
SAMPLINGS = dict(
    nearest=(None, 'xy'),
    linear=('linear', 'xy'),
    cubic=('cubic', 'xy'),
    cubic_x=('cubic', 'x'),
    cubic_y=('cubic', 'y'),
)
#: cv2.warpAffine takes 'area' for 'bilinear'.
INTERPOLATIONS = dict(nearest='nearest', bilinear='linear', area='linear', bicubic='cubic')


class Warp(NamedTuple):
    """Settings of a warp, numbers or arrays.

    The first five after the colour are what the magnitude is multiplied with.
    """

    red: float
    green: float
    blue: float
    turn: float = 0.0  # for the angle in degrees
    shear_x: float = 0.0  # for the shift of x a row
    shear_y: float = 0.0  # for the shift of y a column
    move_x: float = 0.0  # for the shift of x, in widths
    move_y: float = 0.0  # for the shift of y, in heights
    center_x: float = np.nan  # of a rotation; the middle if not a number
    center_y: float = np.nan
    scale: float = 1.0


def read_warp(transform: BaseTransform) -> Tuple[str, Warp]:
    """Sampling and settings of mmpretrain's ``Rotate``, ``Shear`` or ``Translate``.

    Raises:
        ConfigError: Its interpolation cannot be done in batches.
    """
    interpolation = transform.interpolation
    if interpolation not in INTERPOLATIONS:
        raise ConfigError(
            f'interpolation={interpolation!r} cannot be done in batches; these can: '
            f'{", ".join(INTERPOLATIONS)}'
        )
    sampling, name = INTERPOLATIONS[interpolation], type(transform).__name__
    if name == 'Rotate':
        # mmcv.imrotate hands a single number on as it is.
        color = opencv_color(transform.pad_val, 'pad_val')
        x, y = transform.center or (np.nan, np.nan)
        return sampling, Warp(*color, turn=1.0, center_x=x, center_y=y, scale=transform.scale)
    axis = 'y' if transform.direction == 'vertical' else 'x'
    if sampling == 'cubic':
        sampling = f'cubic_{axis}'
    verb = 'shear' if name == 'Shear' else 'move'
    color = broadcast_setting(transform.pad_val, 3, 'pad_val')
    return sampling, Warp(*color, **{f'{verb}_{axis}': 1.0})


def warp_step(group: OpGroup, sampling: str) -> Step:
    """Warps that sample alike, see :data:`SAMPLINGS`."""
    matrices = warp_matrices(Warp(*group.params.T), group.magnitude, group.size)
    slope, start = lines(inverse(matrices), group.size[0])
    draws = dict(slope=slope, start=start, color=group.colors)
    taps, axes = SAMPLINGS[sampling]
    if taps is None:
        return Step(warp_nearest, draws)
    return Step(partial(warp_smooth, axes=axes), dict(draws, taps=TAPS[taps]))


def warp_matrices(warp: Warp, magnitude: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Where warps with settings (N,) move pixels to, float64 (N, 2, 3)."""
    height, width = size
    angle = magnitude * warp.turn * (-np.pi / 180)
    cos, sin = warp.scale * np.cos(angle), warp.scale * np.sin(angle)
    x = np.where(np.isnan(warp.center_x), (width - 1) * 0.5, warp.center_x)
    y = np.where(np.isnan(warp.center_y), (height - 1) * 0.5, warp.center_y)
    # MMCV keeps shears and shifts, OpenCV centres, in float32.
    x, y = x.astype(np.float32), y.astype(np.float32)
    shear_x = (magnitude * warp.shear_x).astype(np.float32)
    shear_y = (magnitude * warp.shear_y).astype(np.float32)
    move_x = (magnitude * warp.move_x * width).astype(np.float32)
    move_y = (magnitude * warp.move_y * height).astype(np.float32)
    rows = [
        cos,
        sin + shear_x,
        (1 - cos) * x - sin * y + move_x,
        shear_y - sin,
        cos,
        sin * x + (1 - cos) * y + move_y,
    ]
    return np.stack(rows, 1).reshape(-1, 2, 3)


def inverse(matrices: np.ndarray) -> np.ndarray:
    """From places in the answer to places in the image, float32 (N, 2, 3)."""
    (a, b, x), (c, d, y) = matrices.transpose(1, 2, 0)
    unit = a * d - b * c
    unit = np.divide(1.0, unit, out=np.zeros_like(unit), where=unit != 0)
    a, b, c, d = d * unit, -b * unit, -c * unit, a * unit
    rows = [a, b, -a * x - b * y, c, d, -c * x - d * y]
    return np.stack(rows, 1).astype(np.float32).reshape(-1, 2, 3)


def lines(matrices: np.ndarray, height: int) -> Tuple[np.ndarray, np.ndarray]:
    """Where in the image each row of the answer begins and how it goes on.

    Args:
        matrices (np.ndarray): See :func:`inverse`.
        height (int): Of the images.

    Returns:
        tuple: Slope (N, 2, 1, 1) and start (N, 2, H, 1) of x and y, float64 of float32 precision.
    """
    along, down, first = matrices[:, :, None].transpose(3, 0, 1, 2)
    start = down * np.arange(height, dtype=np.float32) + first
    slope, start = along[..., None], start[..., None]
    return slope.astype(np.float64), start.astype(np.float64)


def places(slope: torch.Tensor, start: torch.Tensor, width: int) -> torch.Tensor:
    """Where in the image each pixel of the answer lies: x and y, float32 (N, 2, H, W)."""
    across = torch.arange(width, dtype=slope.dtype, device=slope.device)
    return (slope * across).add(start).float()


def warp_nearest(
    images: torch.Tensor, slope: torch.Tensor, start: torch.Tensor, color: torch.Tensor
) -> torch.Tensor:
    """Warp, each pixel the nearest one; arguments as in :func:`warp_smooth`."""
    x, y = places(slope, start, images.size(3)).round_().split(1, 1)
    return take_pixels(images, color, x, y).view(images.shape)


def warp_smooth(
    images: torch.Tensor,
    slope: torch.Tensor,
    start: torch.Tensor,
    color: torch.Tensor,
    taps: torch.Tensor,
    axes: str,
) -> torch.Tensor:
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
    x, y = places(slope, start, images.size(3)).split(1, 1)
    if axes == 'xy':
        (x, across), (y, down) = _spread(x, taps), _spread(y, taps)
        total = sum(
            _weighted(images, color, x, row, across * weight)
            for row, weight in zip(y.split(1, 1), down.split(1, 1))
        )
    else:
        if axes == 'x':
            x, weights = _spread(x, taps)
        else:
            y, weights = _spread(y, taps)
        total = _weighted(images, color, x, y, weights)
    return total.round_().clamp_(0, 255).to(torch.uint8)


def take_pixels(
    images: torch.Tensor, color: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Pixels of images, of a colour where there are none.

    Args:
        images (torch.Tensor): uint8 (N, C, H, W), 4,094 x 4,094 at most.
        color (torch.Tensor): uint8 (N, C, 1, 1).
        x (torch.Tensor): Columns, float32 (N, T, H, W).
        y (torch.Tensor): Rows, float32, to broadcast to the same.

    Returns:
        torch.Tensor: uint8 (N, C, T, H, W).
    """
    n, channels, height, width = images.shape
    # All that is outside is in a frame of one pixel. Exact in float32.
    framed = pad(images, color, (1, 1, 1, 1)).flatten(2)
    x, y = x.clamp(-1, width), y.clamp(-1, height)
    index = torch.add(x, y, alpha=width + 2).add_(width + 3).long()
    chosen = framed.gather(2, index.view(n, 1, -1).expand(-1, channels, -1))
    return chosen.view(n, channels, *index.shape[1:])


def _spread(place: torch.Tensor, taps: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Pixels around places (N, 1, H, W) and their weights, (N, T, H, W)."""
    first = place.floor()
    t = place - first
    one, linear, square, cube, offset = taps
    weights = (cube * t).add_(square).mul_(t).add_(linear).mul_(t).add_(one)
    return first + offset, weights


def _weighted(
    images: torch.Tensor,
    color: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Sums over taps, float32 (N, C, H, W)."""
    pixels = take_pixels(images, color, x, y)
    return (pixels * weights[:, None]).sum(2)
