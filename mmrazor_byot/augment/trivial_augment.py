"""TrivialAugment, each image by its own draw."""

from typing import List, Sequence, Union

import numpy as np
import torch

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import TRANSFORMS

from .base import several, uniform
from .ops import Op, Work, sampling
from .policies import BatchPolicy


@TRANSFORMS.register_module()
class BatchTrivialAugment(BatchPolicy):
    """torchvision's ``TrivialAugmentWide`` for a batch.

    One operation an image, all fourteen with equal chance, and one of its
    magnitudes, all with equal chance. What the operations do is as in
    :class:`BatchAutoAugment`, that is MMCV's: equal to torchvision's or
    within two grey levels, but for the border of ``Sharpness``, which
    torchvision leaves as it is.

    Args:
        num_magnitude_bins (int): How many magnitudes. Defaults to 31.
        interpolation (str): 'nearest', 'bilinear' or 'bicubic'. Defaults to
            'nearest'.
        fill (int | Sequence[int]): Colour from outside. Defaults to 0.
        channel_order (str): 'bgr' or 'rgb', for grey values. Defaults to
            'rgb'.

    Raises:
        ConfigError: A setting that cannot be.
    """

    def __init__(
        self,
        num_magnitude_bins: int = 31,
        interpolation: str = 'nearest',
        fill: Union[int, Sequence[int]] = 0,
        channel_order: str = 'rgb',
    ):
        if num_magnitude_bins < 2:
            raise ConfigError(
                f'BatchTrivialAugment: num_magnitude_bins={num_magnitude_bins}; at least 2'
            )
        color = several(fill, 3, 'fill')
        self.bins = num_magnitude_bins
        space = wide_space(self.bins, interpolation, color)
        self.kinds = len(space) // self.bins
        super().__init__(space, channel_order)

    def choose(self, n: int) -> np.ndarray:
        """One operation with its magnitude for each image."""
        kind, magnitude = uniform(2, 1, n)
        kind = (kind * self.kinds).astype(int)
        return kind * self.bins + (magnitude * self.bins).astype(int)


def wide_space(bins: int, interpolation: str, color: Sequence[int]) -> List[Op]:
    """The operations of TrivialAugment with their magnitudes.

    Args:
        bins (int): Magnitudes an operation.
        interpolation (str): See :class:`BatchTrivialAugment`.
        color (Sequence[int]): From outside, (3,).

    Returns:
        list[Op]: All magnitudes of the first operation, of the second ...
    """
    x, y = (sampling(interpolation, axis) for axis in 'xy')
    turn = sampling(interpolation)
    # In float32, as theirs: on the same side of whole numbers.
    unit, pixels, degrees, part = (
        torch.linspace(first, last, bins).double().numpy()
        for first, last in ((0, 0.99), (0, 32), (0, 135), (1, 0))
    )
    bits = np.rint(8 - np.arange(bins) / ((bins - 1) / 6))
    outside = dict(zip(('red', 'green', 'blue'), color), negative=0.5)
    signed, still = dict(negative=0.5), np.zeros(bins)
    rows = [
        (Work.NOTHING, still, {}),
        (x, unit, dict(outside, shear_x=1.0, pivot=0.5)),
        (y, unit, dict(outside, shear_y=1.0, pivot=0.5)),
        (x, pixels, dict(outside, move_x=1.0, pixels=1.0)),
        (y, pixels, dict(outside, move_y=1.0, pixels=1.0)),
        (turn, degrees, dict(outside, turn=1.0)),
        (Work.BRIGHTNESS, unit, signed),
        (Work.COLOR, unit, signed),
        (Work.CONTRAST, unit, signed),
        (Work.SHARPNESS, unit, signed),
        (Work.POSTERIZE, bits, {}),
        (Work.SOLARIZE, np.float32(255 * part), {}),
        (Work.AUTOCONTRAST, still, {}),
        (Work.EQUALIZE, still, {}),
    ]
    return [
        Op(work, low=value, high=value, **settings)
        for work, values, settings in rows
        for value in values
    ]
