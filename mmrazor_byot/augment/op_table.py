"""Operations for a batch: drawn for each image, done for all of a kind."""
from functools import partial
from typing import Callable, List, NamedTuple, Sequence, Tuple

import numpy as np
import torch

from . import tone, warp
from .base import Step, uniform
from .blend import GREY_WEIGHTS, adjust_color, adjust_sharpness, blend_weights
from .boxes import cutout_boxes, fill_boxes
from .histogram import tone_tables
from .ops import Op, Work

_WARPS = {
    Work.NEAREST: (warp.warp_nearest, {}),
    Work.LINEAR: (partial(warp.warp_smooth, axes='xy'),
                  dict(taps=warp.TAPS['linear'])),
    **{
        work: (partial(warp.warp_smooth, axes=axes),
               dict(taps=warp.TAPS['cubic']))
        for work, axes in ((Work.CUBIC, 'xy'), (Work.CUBIC_X, 'x'),
                           (Work.CUBIC_Y, 'y'))
    }
}


class Draw(NamedTuple):
    """What was drawn for a batch in one place of a policy."""
    op: np.ndarray  # number of the operation, (N,)
    done: np.ndarray  # whether it is done, (N,) bool
    magnitude: np.ndarray  # with its sign, (N,)

    def pick(self, index) -> 'Draw':
        """That of some images."""
        return Draw(*(column[index] for column in self))


class OpTable:
    """All operations of a policy.

    Args:
        table (Sequence[Op]): They.
        channel_order (str): 'bgr' or 'rgb', for grey values.
    """

    def __init__(self, table: Sequence[Op], channel_order: str):
        self.numbers = np.array(table, dtype=np.float64).T
        self.weights = GREY_WEIGHTS[channel_order]
        self._work = Op(*self.numbers).work.astype(np.int64)
        std = Op(*self.numbers).std
        self._uniform = bool(np.isinf(std).any())
        self._normal = bool(((std > 0) & np.isfinite(std)).any())

    def draw(self, op: np.ndarray) -> Draw:
        """Draw whether and how the chosen operations (N,) are done."""
        chance, sign = uniform(2, len(op))
        its = Op(*self.numbers[:, op])
        magnitude = self._magnitude(its)
        magnitude = np.where(sign < its.negative, -magnitude, magnitude)
        return Draw(op, chance < its.prob, magnitude)

    def _magnitude(self, its: Op) -> np.ndarray:
        level, n = its.level, len(its.level)
        if self._uniform:
            level = np.where(np.isinf(its.std), uniform(n) * level, level)
        if self._normal:
            z = torch.randn(n, dtype=torch.float64).numpy()
            std = np.where(np.isfinite(its.std), its.std, 0)
            noisy = np.clip(level + z * std, 0, its.total)
            level = np.where(std > 0, noisy, level)
        return level / its.total * (its.high - its.low) + its.low

    def work(self, draw: Draw) -> np.ndarray:
        """Kind of work for each image, of the shape of the draw."""
        return self._work[draw.op] * draw.done

    def matrices(self, draw: Draw, size: Tuple[int, int]) -> np.ndarray:
        """What warps need to know, (..., 2, 3); of no use for other work.

        Args:
            draw (Draw): Arrays of any shape.
            size (tuple): Height and width of the images.
        """
        its = Op(*self.numbers[:, draw.op.ravel()])
        moves = warp_matrices(its, draw.magnitude.ravel(), size)
        return warp.inverse(moves).reshape(*draw.op.shape, 2, 3)

    def plan(self, draw: Draw, matrices: np.ndarray,
             size: Tuple[int, int]) -> List[Step]:
        """Steps for images sorted by their kind of work.

        Args:
            draw (Draw): Sorted in the same way.
            matrices (np.ndarray): See :meth:`matrices`, sorted likewise.
            size (tuple): Height and width of the images.

        Returns:
            list[Step]: They work in place.
        """
        work, numbers = self.work(draw), self.numbers[:, draw.op]
        ends = np.searchsorted(work, np.arange(len(Work) + 1)).tolist()
        steps = []

        def add(first: Work, last: Work, make: Callable, *settings) -> None:
            start, stop = ends[first], ends[last + 1]
            if start < stop:
                part = slice(start, stop)
                its = Op(*numbers[:, part])
                kernel, draws = make(its, draw.magnitude[part], *settings)
                steps.append(
                    Step(partial(on_part, kernel=kernel, part=part), draws))

        add(Work.INVERT, Work.EQUALIZE, self._tone, ends)
        add(Work.COLOR, Work.COLOR, self._color)
        add(Work.SHARPNESS, Work.SHARPNESS, self._sharpness)
        add(Work.CUTOUT, Work.CUTOUT, self._cutout, size)
        for kind in _WARPS:
            part = slice(ends[kind], ends[kind + 1])
            add(kind, kind, self._warp, kind, matrices[part], size[0])
        return steps

    def _tone(self, its: Op, magnitude: np.ndarray, ends: List[int]) -> Step:
        """Work from INVERT to EQUALIZE."""

        def of(first: Work, last: Work) -> slice:
            begin = ends[Work.INVERT]
            return slice(ends[first] - begin, ends[last + 1] - begin)

        tables = np.empty((ends[Work.BRIGHTNESS + 1] - ends[Work.INVERT], 1,
                           256), np.uint8)
        for kind, make in tone.TABLES.items():
            part = of(kind, kind)
            if part.start < part.stop:
                tables[part, 0] = make(magnitude[part], its.threshold[part])
        draws, blended = dict(tables=tables), of(Work.CONTRAST, Work.CONTRAST)
        if blended.start < blended.stop:
            draws.update(
                blend_weights(magnitude[blended]), weights=self.weights)
        stretched = of(Work.AUTOCONTRAST, Work.AUTOCONTRAST)
        count = stretched.stop - stretched.start
        return Step(partial(change_tone, autocontrast=count), draws)

    def _color(self, its: Op, magnitude: np.ndarray) -> Step:
        return Step(adjust_color,
                    dict(blend_weights(magnitude), weights=self.weights))

    def _sharpness(self, its: Op, magnitude: np.ndarray) -> Step:
        return Step(adjust_sharpness, blend_weights(magnitude))

    def _cutout(self, its: Op, magnitude: np.ndarray,
                size: Tuple[int, int]) -> Step:
        hole = np.stack([its.hole_height, its.hole_width], 1)
        hole = np.where(hole < 0, magnitude[:, None], hole).astype(np.int64)
        boxes = cutout_boxes(uniform(len(hole), 2), hole, size)
        return Step(fill_boxes, dict(boxes=boxes, fill=_colors(its)))

    def _warp(self, its: Op, magnitude: np.ndarray, kind: Work,
              matrices: np.ndarray, height: int) -> Step:
        kernel, draws = _WARPS[kind]
        lines = warp.lines(matrices, height)
        return Step(kernel, dict(draws, color=_colors(its), **lines))


def warp_matrices(its: Op, magnitude: np.ndarray,
                  size: Tuple[int, int]) -> np.ndarray:
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
    move_x, move_y = (
        np.where(its.pixels, np.trunc(move), move * length).astype(np.float32)
        for move, length in ((magnitude * its.move_x, width),
                             (magnitude * its.move_y, height)))
    move_x += shear_x * its.pivot
    move_y += shear_y * its.pivot
    rows = [
        cos, sin + shear_x, (1 - cos) * x - sin * y + move_x,
        shear_y - sin, cos, sin * x + (1 - cos) * y + move_y
    ]
    return np.stack(rows, 1).reshape(-1, 2, 3)


def change_tone(images: torch.Tensor, **settings) -> torch.Tensor:
    """Tables for sorted images, see :func:`tone_tables`, looked up."""
    return tone.look_up(images, tone_tables(images, **settings))


def on_part(images: torch.Tensor, kernel: Callable, part: slice,
            **draws: torch.Tensor) -> torch.Tensor:
    """Change some of the images in place."""
    some = images[part]
    some.copy_(kernel(some, **draws))
    return images


def _colors(its: Op) -> np.ndarray:
    """uint8 (N, 3, 1, 1)."""
    color = np.stack([its.red, its.green, its.blue], 1)
    return color.astype(np.uint8)[:, :, None, None]
