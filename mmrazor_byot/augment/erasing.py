"""Random erasing, each image at its own place."""

from functools import partial
from typing import List, Optional, Sequence, Union

import numpy as np
import torch
from mmpretrain.datasets import RandomErasing

from mmrazor_byot.registry import TRANSFORMS

from .base import BatchTransform, Shape, Step, rule, uniform
from .boxes import fill_boxes, sides


@TRANSFORMS.register_module()
class BatchRandomErasing(BatchTransform):
    """mmpretrain's ``RandomErasing`` for a batch.

    Random pixels are made on the images' device from a seed drawn on the
    CPU: they repeat on the same kind of device.

    Args:
        erase_prob (float): Chance of a hole. Defaults to 0.5.
        min_area_ratio (float): Least area, of the image's. Defaults to 0.02.
        max_area_ratio (float): Largest area. Defaults to 0.4.
        aspect_range (float | Sequence[float]): Of height to width. Defaults
            to (3 / 10, 10 / 3).
        mode (str): 'const' or 'rand'. Defaults to 'const'.
        fill_color (Number | Sequence[Number]): Colour, or mean colour.
            Defaults to (128, 128, 128).
        fill_std (Number | Sequence[Number], optional): With ``mode='rand'``,
            standard deviation of normal pixels; else they are uniform.

    Raises:
        ConfigError: mmpretrain refuses the settings.
    """

    def __init__(
        self,
        erase_prob: float = 0.5,
        min_area_ratio: float = 0.02,
        max_area_ratio: float = 0.4,
        aspect_range: Union[float, Sequence[float]] = (3 / 10, 10 / 3),
        mode: str = 'const',
        fill_color: Union[float, Sequence[float]] = (128, 128, 128),
        fill_std: Optional[Union[float, Sequence[float]]] = None,
    ):
        self.rule = rule(
            RandomErasing,
            erase_prob,
            min_area_ratio,
            max_area_ratio,
            aspect_range,
            mode,
            fill_color,
            fill_std,
        )

    def draw(self, shape: Shape) -> List[Step]:
        """A box for each image, an empty one for those left out."""
        its, size = self.rule, np.array(shape[2:])
        chance, area, aspect, *places = uniform(5, shape[0])
        lowest, highest = np.log(np.array(its.aspect_range, np.float32))
        aspect = np.exp(lowest + (highest - lowest) * aspect)
        area = size.prod() * (its.min_area_ratio + area * (its.max_area_ratio - its.min_area_ratio))
        hole = np.sqrt(np.stack([area * aspect, area / aspect], 1))
        hole = np.minimum(np.rint(hole).astype(np.int64), size)
        # As np.random.randint(0, H - h): the last place is never taken.
        start = (np.stack(places, 1) * (size - hole)).astype(np.int64)
        boxes = np.hstack([start, start + hole])
        boxes[chance >= its.erase_prob] = 0
        return [self._filling(sides(boxes, shape[2:]))]

    def _filling(self, covered: dict) -> Step:
        its = self.rule
        color = np.array(its.fill_color).reshape(3, 1, 1)
        if its.mode == 'const':
            return Step(fill_boxes, dict(covered, fill=color.astype(np.uint8)))
        if its.fill_std is not None:
            covered['mean'] = color.astype(np.float32)
            covered['std'] = np.float32(its.fill_std).reshape(3, 1, 1)
        seed = int(torch.randint(2**31, ()))
        return Step(partial(fill_with_noise, seed=seed), covered)


def fill_with_noise(
    images: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
    seed: int,
    mean: Optional[torch.Tensor] = None,
    std: Optional[torch.Tensor] = None,
) -> torch.Tensor:
    """Fill each image's box with random pixels.

    Args:
        images (torch.Tensor): uint8 (N, C, H, W).
        rows (torch.Tensor): See :func:`~.boxes.sides`.
        columns (torch.Tensor): Likewise.
        seed (int): Of the pixels.
        mean (torch.Tensor, optional): Of normal pixels, (C, 1, 1); uniform
            ones if None.
        std (torch.Tensor, optional): Their standard deviation, (C, 1, 1).

    Returns:
        torch.Tensor: uint8 (N, C, H, W).
    """
    generator = torch.Generator(images.device).manual_seed(seed)
    if mean is None:
        noise = torch.empty_like(images).random_(0, 256, generator=generator)
    else:
        noise = torch.empty(images.shape, device=images.device).normal_(generator=generator)
        noise = noise.mul_(std).add_(mean).clamp_(0, 255).to(torch.uint8)
    return fill_boxes(images, rows, columns, noise)
