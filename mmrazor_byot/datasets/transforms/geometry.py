"""Kernels for rotation, shear and translation, with the arithmetic of OpenCV 5's ``warpAffine``.

OpenCV 4 rounds coordinates to 1/1024 of a pixel, or 1/32 when it interpolates, which changes the
nearest pixel of about 1 in 1,000.
"""

from typing import Callable, Dict, NamedTuple, Optional, Tuple

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmrazor_byot.errors import ConfigError

from .base import broadcast_setting, opencv_color, pad, per_sample, to_device

#: From coordinates (N, 1, H, W) to the T pixels to sample, and their weights, both (N, T, H, W).
Taps = Callable[[torch.Tensor], Tuple[torch.Tensor, torch.Tensor]]


def one_tap(coordinate: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Taps for coordinates that are integers, T = 1."""
    return coordinate, torch.ones_like(coordinate)


def linear_taps(coordinate: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Taps of linear interpolation, T = 2."""
    first = coordinate.floor()
    t = coordinate - first
    return torch.cat([first, first + 1], 1), torch.cat([1 - t, t], 1)


def cubic_taps(coordinate: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Taps of cubic convolution with OpenCV's A = -0.75, T = 4."""
    first = coordinate.floor()
    t = coordinate - first
    # Weights of the pixels at -1, 0, 1 and 2 in Horner's scheme.
    weights = [
        ((-0.75 * t + 1.5) * t - 0.75) * t,
        (1.25 * t - 2.25) * t * t + 1,
        ((-1.25 * t + 1.5) * t + 0.75) * t,
        (0.75 * t - 0.75) * t * t,
    ]
    return torch.cat([first + i for i in (-1, 0, 1, 2)], 1), torch.cat(weights, 1)


#: Taps along x and along y; None for the nearest pixel. Shears and translations along one axis
#: interpolate along this axis alone.
SAMPLINGS: Dict[str, Optional[Tuple[Taps, Taps]]] = dict(
    nearest=None,
    linear=(linear_taps, linear_taps),
    cubic=(cubic_taps, cubic_taps),
    cubic_x=(cubic_taps, one_tap),
    cubic_y=(one_tap, cubic_taps),
)
#: cv2.warpAffine treats 'area' as 'bilinear'.
INTERPOLATIONS = dict(nearest='nearest', bilinear='linear', area='linear', bicubic='cubic')


class Warp(NamedTuple):
    """Params of an affine warp: numbers, or arrays (N,) for a batch.

    The magnitude is multiplied by ``rotate`` to ``translate_y``.
    """

    red: float
    green: float
    blue: float
    rotate: float = 0.0  # angle in degrees
    shear_x: float = 0.0  # shift of x per row
    shear_y: float = 0.0  # shift of y per column
    translate_x: float = 0.0  # in widths
    translate_y: float = 0.0  # in heights
    center_x: float = np.nan  # of the rotation; NaN: the centre of the image
    center_y: float = np.nan
    scale: float = 1.0


def read_warp(transform: BaseTransform) -> Tuple[str, Warp]:
    """Sampling and params of mmpretrain's ``Rotate``, ``Shear`` or ``Translate``."""
    interpolation = transform.interpolation
    if interpolation not in INTERPOLATIONS:
        raise ConfigError(
            f'interpolation={interpolation!r} is not supported for batches; choose from '
            f'{", ".join(INTERPOLATIONS)}'
        )
    sampling, name = INTERPOLATIONS[interpolation], type(transform).__name__
    if name == 'Rotate':
        # mmcv.imrotate passes a single number to OpenCV as it is.
        red, green, blue = opencv_color(transform.pad_val, 'pad_val')
        x, y = transform.center or (np.nan, np.nan)
        fixed = dict(center_x=x, center_y=y, scale=transform.scale)
        return sampling, Warp(red, green, blue, rotate=1.0, **fixed)
    axis = 'y' if transform.direction == 'vertical' else 'x'
    if sampling == 'cubic':
        sampling = f'cubic_{axis}'
    red, green, blue = broadcast_setting(transform.pad_val, 3, 'pad_val')
    return sampling, Warp(red, green, blue, **{f'{name.lower()}_{axis}': 1.0})


def warp(
    images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray, sampling: str
) -> torch.Tensor:
    """Warp images of at most 4,094 x 4,094 pixels; params (N, 11) as in :class:`Warp`."""
    height, width = images.shape[2:]
    matrices = inverse(warp_matrices(Warp(*params.T), magnitude, height, width))
    color = per_sample(params[:, :3].astype(np.uint8), images)
    x, y = source_coordinates(matrices, images)
    taps = SAMPLINGS[sampling]
    if taps is None:
        return gather_pixels(images, color, x.round_(), y.round_())[:, :, 0]
    (x, weights_x), (y, weights_y) = taps[0](x), taps[1](y)
    total = torch.zeros((), device=images.device)
    for row, weight in zip(y.split(1, 1), weights_y.split(1, 1)):
        pixels = gather_pixels(images, color, x, row)
        total = total + (pixels * (weights_x * weight)[:, None]).sum(2)
    return total.round_().clamp_(0, 255).to(torch.uint8)


def warp_matrices(warp: Warp, magnitude: np.ndarray, height: int, width: int) -> np.ndarray:
    """Matrices from input to output coordinates of a batch of warps, float64 (N, 2, 3)."""
    angle = magnitude * warp.rotate * (-np.pi / 180)
    cos, sin = warp.scale * np.cos(angle), warp.scale * np.sin(angle)
    x = np.where(np.isnan(warp.center_x), (width - 1) * 0.5, warp.center_x)
    y = np.where(np.isnan(warp.center_y), (height - 1) * 0.5, warp.center_y)
    # MMCV has shears and translations in float32, OpenCV has centres in float32.
    x, y = x.astype(np.float32), y.astype(np.float32)
    factors = [warp.shear_x, warp.shear_y, warp.translate_x * width, warp.translate_y * height]
    shear_x, shear_y, move_x, move_y = np.float32(magnitude * factors)
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
    """Matrices from output to input coordinates, float32 (N, 2, 3)."""
    (a, b, x), (c, d, y) = matrices.transpose(1, 2, 0)
    det = a * d - b * c
    factor = np.divide(1.0, det, out=np.zeros_like(det), where=det != 0)
    a, b, c, d = d * factor, -b * factor, -c * factor, a * factor
    rows = [a, b, -a * x - b * y, c, d, -c * x - d * y]
    return np.stack(rows, 1).astype(np.float32).reshape(-1, 2, 3)


def source_coordinates(
    matrices: np.ndarray, images: torch.Tensor
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Input coordinates x and y of each output pixel, float32 (N, 1, H, W).

    Rounded as in OpenCV: the start of a row in float32, then one fused multiply-add per pixel.
    """
    height, width = images.shape[2:]
    across, down, first = matrices[..., None, None].transpose(2, 0, 1, 3, 4)
    start = down * np.arange(height, dtype=np.float32)[:, None] + first
    # The product of two float32 is exact in float64.
    slope, start = (to_device(a.astype(np.float64), images) for a in (across, start))
    columns = torch.arange(width, dtype=torch.float64, device=images.device)
    return (slope * columns).add(start).float().split(1, 1)


def gather_pixels(
    images: torch.Tensor, color: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Gather pixels of images, and a color (N, C, 1, 1) outside of them, to (N, C, T, H, W).

    Columns x (N, T, H, W) and rows y, broadcastable to x, are integers in float32.
    """
    n, channels, height, width = images.shape
    # A border of one pixel holds the color for all coordinates outside.
    padded = pad(images, color, (1, 1, 1, 1)).flatten(2)
    x, y = x.clamp(-1, width), y.clamp(-1, height)
    # Exact in float32 for images of the supported sizes.
    index = torch.add(x, y, alpha=width + 2).add_(width + 3).long()
    pixels = padded.gather(2, index.view(n, 1, -1).expand(-1, channels, -1))
    return pixels.view(n, channels, *index.shape[1:])
