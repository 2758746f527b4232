"""Operations for a batch: all images of a kind of work at once."""

from functools import partial
from typing import Callable, List, Optional, Tuple

import numpy as np
import torch

from . import warp
from .base import Step, uniform
from .blend import adjust_color, adjust_sharpness
from .boxes import cutout_boxes, fill_boxes, sides
from .histogram import change_tone
from .ops import Work
from .transfer import Draws

#: Kernel of each warp, and what it needs besides.
_WARPS = {
    Work.NEAREST: (warp.warp_nearest, {}),
    Work.LINEAR: (partial(warp.warp_smooth, axes='xy'), 'linear'),
    Work.CUBIC: (partial(warp.warp_smooth, axes='xy'), 'cubic'),
    Work.CUBIC_X: (partial(warp.warp_smooth, axes='x'), 'cubic'),
    Work.CUBIC_Y: (partial(warp.warp_smooth, axes='y'), 'cubic'),
}


class Plan:
    """Steps for images sorted by their kind of work.

    Args:
        work (np.ndarray): Kind of each image, (N,), sorted.
        place (np.ndarray): Place of each in the details, (N,).
        details (dict): See :func:`~.details.work_out`.
        weights (np.ndarray): See :func:`~.blend.grey`.
        size (tuple): Height and width of the images.
    """

    def __init__(
        self,
        work: np.ndarray,
        place: np.ndarray,
        details: Draws,
        weights: np.ndarray,
        size: Tuple[int, int],
    ):
        self.ends = np.searchsorted(work, np.arange(len(Work) + 1)).tolist()
        self.place, self.details, self.weights = place, details, weights
        self.size = size

    def steps(self) -> List[Step]:
        """The steps, which work in place."""
        steps = [
            self._tone(),
            self._step(Work.COLOR, adjust_color, 'alpha beta',
                       weights=self.weights),
            self._step(Work.SHARPNESS, adjust_sharpness, 'alpha beta'),
            self._cutout()
        ]  # yapf: disable
        for kind, (kernel, taps) in _WARPS.items():
            more = dict(taps=warp.TAPS[taps]) if taps else {}
            steps.append(self._step(kind, kernel, 'slope start color', **more))
        return [step for step in steps if step is not None]

    def _step(self, kind: Work, kernel: Callable, names: str, **more: np.ndarray) -> Optional[Step]:
        if not self._count(kind):
            return None
        draws = self._pick(names, kind, kind)
        return Step(
            partial(on_part, kernel=kernel, part=self._part(kind, kind)), dict(draws, **more)
        )

    def _tone(self) -> Optional[Step]:
        part = self._part(Work.INVERT, Work.EQUALIZE)
        if part.start == part.stop:
            return None
        draws = self._pick('tables', Work.INVERT, Work.BRIGHTNESS)
        if self._count(Work.CONTRAST):
            draws.update(
                self._pick('alpha beta', Work.CONTRAST, Work.CONTRAST), weights=self.weights
            )
        kernel = partial(change_tone, autocontrast=self._count(Work.AUTOCONTRAST))
        return Step(partial(on_part, kernel=kernel, part=part), draws)

    def _cutout(self) -> Optional[Step]:
        count = self._count(Work.CUTOUT)
        if not count:
            return None
        draws = self._pick('hole color', Work.CUTOUT, Work.CUTOUT)
        boxes = cutout_boxes(uniform(count, 2), draws['hole'], self.size)
        return Step(
            partial(on_part, kernel=fill_boxes, part=self._part(Work.CUTOUT, Work.CUTOUT)),
            dict(sides(boxes, self.size), fill=draws['color']),
        )

    def _count(self, kind: Work) -> int:
        return self.ends[kind + 1] - self.ends[kind]

    def _part(self, first: Work, last: Work) -> slice:
        return slice(self.ends[first], self.ends[last + 1])

    def _pick(self, names: str, first: Work, last: Work) -> Draws:
        place = self.place[self._part(first, last)]
        return {name: self.details[name][place] for name in names.split()}


def on_part(
    images: torch.Tensor, kernel: Callable, part: slice, **draws: torch.Tensor
) -> torch.Tensor:
    """Change some of the images in place."""
    some = images[part]
    some.copy_(kernel(some, **draws))
    return images
