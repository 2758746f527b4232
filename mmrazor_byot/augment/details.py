"""What the kernels need to know of operations with drawn magnitudes."""

from typing import Tuple

import numpy as np

from . import tone, warp
from .blend import blend_weights
from .ops import Op, Work
from .transfer import Draws


def work_out(its: Op, magnitude: np.ndarray, size: Tuple[int, int]) -> Draws:
    """Work out what the kernels need.

    Args:
        its (Op): Numbers (V,) of the operations.
        magnitude (np.ndarray): Drawn for them, with their signs, (V,).
        size (tuple): Height and width of the images.

    Returns:
        dict: For all V operations, of use to those that the kernel is for:
        ``table`` (V, 1, 256), see :mod:`.tone`; ``alpha`` and ``beta``, see
        :func:`~.blend.blend_weights`; ``slope`` and ``start``, see
        :func:`~.warp.lines`; ``hole``, height and width (V, 2); ``color``
        (V, 3, 1, 1).
    """
    work = its.work
    tables = np.empty((len(work), 1, 256), np.uint8)
    for kind, make in tone.TABLES.items():
        i = np.flatnonzero(work == kind)
        tables[i, 0] = make(magnitude[i], its.threshold[i])

    slope = np.empty((len(work), 2, 1, 1))
    start = np.empty((len(work), 2, size[0], 1))
    i = np.flatnonzero(work >= Work.NEAREST)
    if len(i):
        moves = warp_matrices(Op(*(n[i] for n in its)), magnitude[i], size)
        slope[i], start[i] = warp.lines(warp.inverse(moves), size[0])

    hole = np.stack([its.hole_height, its.hole_width], 1)
    color = np.stack([its.red, its.green, its.blue], 1).astype(np.uint8)
    return dict(
        tables=tables,
        slope=slope,
        start=start,
        hole=np.where(hole < 0, magnitude[:, None], hole).astype(np.int64),
        color=color[:, :, None, None],
        **blend_weights(magnitude),
    )


def warp_matrices(its: Op, magnitude: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Where rotations, shears and translations move pixels to.

    Args:
        its (Op): Numbers (N,) of the operations.
        magnitude (np.ndarray): (N,).
        size (tuple): Height and width of the images.

    Returns:
        np.ndarray: float64 (N, 2, 3).
    """
    height, width = size
    angle = magnitude * its.turn * (-np.pi / 180)
    cos, sin = its.scale * np.cos(angle), its.scale * np.sin(angle)
    x = np.where(np.isnan(its.center_x), (width - 1) * 0.5, its.center_x)
    y = np.where(np.isnan(its.center_y), (height - 1) * 0.5, its.center_y)
    # MMCV keeps shears and shifts, OpenCV centres, in float32.
    x, y = x.astype(np.float32), y.astype(np.float32)
    shear_x = (magnitude * its.shear_x).astype(np.float32)
    shear_y = (magnitude * its.shear_y).astype(np.float32)
    move_x = (magnitude * its.move_x * width).astype(np.float32)
    move_y = (magnitude * its.move_y * height).astype(np.float32)
    rows = [
        cos,
        sin + shear_x,
        (1 - cos) * x - sin * y + move_x,
        shear_y - sin,
        cos,
        sin * x + (1 - cos) * y + move_y,
    ]
    return np.stack(rows, 1).reshape(-1, 2, 3)
