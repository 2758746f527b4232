"""Random flips, each image in its own direction."""

from functools import partial
from typing import List, Sequence, Union

import numpy as np
import torch
from mmcv.transforms import RandomFlip

from mmrazor_byot.registry import TRANSFORMS

from .base import BatchTransform, Shape, Step, rule, uniform

#: Which dimensions of (N, C, H, W) each direction reverses.
DIRECTIONS = dict(horizontal=(3,), vertical=(2,), diagonal=(2, 3))


@TRANSFORMS.register_module()
class BatchRandomFlip(BatchTransform):
    """MMCV's ``RandomFlip`` for a batch.

    Args:
        prob (float | list[float]): Chance of a flip, shared evenly by the
            directions; or a chance for each.
        direction (str | list[str]): 'horizontal', 'vertical', 'diagonal'.
            Defaults to 'horizontal'.

    Raises:
        ConfigError: MMCV refuses the settings.
    """

    def __init__(
        self,
        prob: Union[float, Sequence[float]],
        direction: Union[str, Sequence[str]] = 'horizontal',
    ):
        its = rule(RandomFlip, prob, direction)
        names = [direction] if isinstance(direction, str) else direction
        self.directions = tuple(names)
        chances = its.prob if isinstance(its.prob, list) else ([its.prob / len(names)] * len(names))
        self.bounds = np.cumsum(chances)

    def draw(self, shape: Shape) -> List[Step]:
        """For each image the number of a direction, or none."""
        n = shape[0]
        choice = np.searchsorted(self.bounds, uniform(n), side='right')
        turned = (choice + 1) % (len(self.directions) + 1)
        return [
            Step(partial(flip, directions=self.directions), dict(index=turned * n + np.arange(n)))
        ]


def flip(images: torch.Tensor, index: torch.Tensor, directions: Sequence[str]) -> torch.Tensor:
    """Flip some images.

    Args:
        images (torch.Tensor): (N, C, H, W).
        index (torch.Tensor): (N,): i for image i as it is, d * N + i for
            image i in the d-th direction, counted from 1.
        directions (Sequence[str]): See :data:`DIRECTIONS`.

    Returns:
        torch.Tensor: (N, C, H, W).
    """
    turned = [images.flip(DIRECTIONS[name]) for name in directions]
    return torch.cat([images, *turned]).index_select(0, index)
