"""Rotations, shears and translations, with the arithmetic of OpenCV 5's ``warpAffine``.

(OpenCV 4 rounds coordinates to 1/1024 of a pixel, or 1/32 when it interpolates: there the nearest
pixel is another one for about 1 in 1,000.)
"""

from typing import NamedTuple, Tuple

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmrazor_byot.errors import ConfigError

from .base import broadcast_setting, one_each, opencv_color, pad, to_device


def one_tap(place: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Pixels to take for places (N, 1, H, W) that are whole, and their weights, (N, 1, H, W)."""
    return place, torch.ones_like(place)


def linear_taps(place: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Pixels to take for places (N, 1, H, W), and their weights, (N, 2, H, W)."""
    first = place.floor()
    t = place - first
    return torch.cat([first, first + 1], 1), torch.cat([1 - t, t], 1)


def cubic_taps(place: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Likewise for cubic convolution with A = -0.75, OpenCV's, (N, 4, H, W)."""
    first = place.floor()
    t = place - first
    # Weights of the pixels at -1, 0, 1 and 2; Horner's scheme.
    weights = [
        ((-0.75 * t + 1.5) * t - 0.75) * t,
        (1.25 * t - 2.25) * t * t + 1,
        ((-1.25 * t + 1.5) * t + 0.75) * t,
        (0.75 * t - 0.75) * t * t,
    ]
    return torch.cat([first + i for i in (-1, 0, 1, 2)], 1), torch.cat(weights, 1)


#: How to sample along x and along y; pixels of ``cubic_x`` move along x alone. ``nearest`` needs no
#: weights.
SAMPLINGS = dict(
    nearest=None,
    linear=(linear_taps, linear_taps),
    cubic=(cubic_taps, cubic_taps),
    cubic_x=(cubic_taps, one_tap),
    cubic_y=(one_tap, cubic_taps),
)
#: cv2.warpAffine takes 'area' for 'bilinear'.
INTERPOLATIONS = dict(nearest='nearest', bilinear='linear', area='linear', bicubic='cubic')


class Warp(NamedTuple):
    """Settings of a warp, numbers or arrays (N,).

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


def warp(
    images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray, sampling: str
) -> torch.Tensor:
    """Warp images, uint8 (N, 3, H, W), 4,094 x 4,094 at most.

    Args:
        images (torch.Tensor): uint8 (N, 3, H, W).
        magnitude (np.ndarray): Of each, (N,).
        params (np.ndarray): Settings of each, the fields of :class:`Warp`, (N, 11).
        sampling (str): A name of :data:`SAMPLINGS`.
    """
    settings, (height, width) = Warp(*params.T), images.shape[2:]
    matrices = inverse(warp_matrices(settings, magnitude, height, width))
    color = one_each(params[:, :3].astype(np.uint8), images)
    x, y = places(matrices, images)
    if sampling == 'nearest':
        return take_pixels(images, color, x.round_(), y.round_())[:, :, 0]
    spread_x, spread_y = SAMPLINGS[sampling]
    (x, weights_x), (y, weights_y) = spread_x(x), spread_y(y)
    total = 0
    for row, weight in zip(y.split(1, 1), weights_y.split(1, 1)):
        pixels = take_pixels(images, color, x, row)
        total = total + (pixels * (weights_x * weight)[:, None]).sum(2)
    return total.round_().clamp_(0, 255).to(torch.uint8)


def warp_matrices(warp: Warp, magnitude: np.ndarray, height: int, width: int) -> np.ndarray:
    """Where warps with settings (N,) move pixels to, float64 (N, 2, 3)."""
    angle = magnitude * warp.turn * (-np.pi / 180)
    cos, sin = warp.scale * np.cos(angle), warp.scale * np.sin(angle)
    x = np.where(np.isnan(warp.center_x), (width - 1) * 0.5, warp.center_x)
    y = np.where(np.isnan(warp.center_y), (height - 1) * 0.5, warp.center_y)
    # MMCV keeps shears and shifts, OpenCV centres, in float32.
    x, y = x.astype(np.float32), y.astype(np.float32)
    shear_x, shear_y, move_x, move_y = np.float32(
        magnitude * [warp.shear_x, warp.shear_y, warp.move_x * width, warp.move_y * height]
    )
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
    """From places in the new image to places in the given one, float32 (N, 2, 3)."""
    (a, b, x), (c, d, y) = matrices.transpose(1, 2, 0)
    unit = a * d - b * c
    unit = np.divide(1.0, unit, out=np.zeros_like(unit), where=unit != 0)
    a, b, c, d = d * unit, -b * unit, -c * unit, a * unit
    rows = [a, b, -a * x - b * y, c, d, -c * x - d * y]
    return np.stack(rows, 1).astype(np.float32).reshape(-1, 2, 3)


def places(matrices: np.ndarray, images: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Where in the image each pixel of the new one lies: x and y, float32 (N, 1, H, W).

    Rounded as OpenCV rounds: a row's start in float32, then one fused multiply-add a pixel.
    """
    height, width = images.shape[2:]
    across, down, first = matrices[..., None, None].transpose(2, 0, 1, 3, 4)
    start = down * np.arange(height, dtype=np.float32)[:, None] + first
    # The product of two float32 is exact in float64.
    slope, start = (to_device(a.astype(np.float64), images) for a in (across, start))
    columns = torch.arange(width, dtype=torch.float64, device=images.device)
    return (slope * columns).add(start).float().split(1, 1)


def take_pixels(
    images: torch.Tensor, color: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Pixels of images, of a colour where there are none.

    Args:
        images (torch.Tensor): uint8 (N, C, H, W).
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
