"""Cutout, each image at its own place."""

from typing import List, Sequence, Tuple, Union

import numpy as np
from mmpretrain.datasets import Cutout

from mmrazor_byot.registry import TRANSFORMS

from .base import BatchTransform, Shape, Step, rule, several, uniform
from .boxes import cutout_boxes, fill_boxes, sides


@TRANSFORMS.register_module()
class BatchCutout(BatchTransform):
    """mmpretrain's ``Cutout`` for a batch.

    Args:
        shape (int | tuple[int]): Height and width of the hole.
        pad_val (int | Sequence[int]): Its colour. Defaults to 128.
        prob (float): Chance of a hole. Defaults to 0.5.

    Raises:
        ConfigError: mmpretrain refuses the settings.
    """

    def __init__(
        self,
        shape: Union[int, Tuple[int, int]],
        pad_val: Union[int, Sequence[int]] = 128,
        prob: float = 0.5,
    ):
        its = rule(Cutout, shape, pad_val, prob)
        self.shape = several(its.shape, 2, 'shape')
        color = several(its.pad_val, 3, 'pad_val').astype(np.uint8)
        self.color = color.reshape(3, 1, 1)
        self.prob = its.prob

    def draw(self, shape: Shape) -> List[Step]:
        """A box for each image, an empty one for those left out."""
        draws = uniform(shape[0], 3)
        boxes = cutout_boxes(draws[:, 1:], self.shape, shape[2:])
        boxes[draws[:, 0] >= self.prob] = 0
        covered = sides(boxes, shape[2:])
        return [Step(fill_boxes, dict(covered, fill=self.color))]
