"""AutoAugment and RandAugment of batches; each image has its own random operations.

All images with the same operation are transformed by one call of a kernel.
"""

from abc import abstractmethod
from functools import partial
from typing import Dict, List, NamedTuple, Sequence, Union

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import AutoAugment, RandAugment

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import TRANSFORMS

from . import cutout, geometry, tone
from .base import BatchTransform, Kernel, reference_transform, to_device, uniform

KERNELS: Dict[str, Kernel] = {
    **tone.KERNELS,
    'Cutout': cutout.cutout,
    **{name: partial(geometry.warp, sampling=name) for name in geometry.SAMPLINGS},
}
#: Names of the kernels by index; 0 leaves an image as it is.
KERNEL_NAMES = ('Identity', *KERNELS)

WARPS = ('Rotate', 'Shear', 'Translate')
#: The supported transforms of mmpretrain.
SUPPORTED = (*tone.KERNELS, 'Cutout', *WARPS)
#: Their attributes with a fixed magnitude, if not ``magnitude``.
MAGNITUDES = dict(Solarize='thr', Posterize='bits', Cutout='shape', Rotate='angle')


class Op(NamedTuple):
    """One operation of a policy.

    Its magnitude is ``level / total * (high - low) + low`` with a random level, see mmpretrain's
    ``BaseAugTransform``.
    """

    kernel: str = 'Identity'
    params: Sequence[float] = ()  # of the kernel
    prob: float = 1.0  # of applying it
    negative: float = 0.0  # probability of negating the magnitude
    low: float = 0.0
    high: float = 0.0
    level: float = 1.0
    total: float = 1.0
    std: float = 0.0  # of the level; inf: uniform from 0 to the level


def read_op(transform: BaseTransform) -> Op:
    """The operation of a transform of mmpretrain, a ``BaseAugTransform``."""
    name = kernel = type(transform).__name__
    if name not in SUPPORTED:
        raise ConfigError(
            f'{name} is not supported for batches; choose from {", ".join(SUPPORTED)}'
        )
    params: Sequence[float] = ()
    if name in WARPS:
        kernel, params = geometry.read_warp(transform)
    elif name == 'Cutout':
        params = cutout.read_cutout(transform)
    elif name == 'SolarizeAdd':
        params = (transform.thr,)
    op = Op(kernel, params, transform.prob, transform.random_negative_prob)
    fixed = getattr(transform, MAGNITUDES.get(name, 'magnitude'), None)
    if fixed is None and transform.magnitude_range is not None:
        low, high = transform.magnitude_range
        level, total = transform.magnitude_level, transform.total_level
        std = float(transform.magnitude_std)
        return op._replace(low=low, high=high, level=level, total=total, std=std)
    # The params of a Cutout hold a fixed height and width.
    value = 0.0 if fixed is None or np.ndim(fixed) else fixed
    return op._replace(low=value, high=value)


class Draw(NamedTuple):
    """What was drawn for N images: arrays (N,)."""

    op: np.ndarray  # index of the operation
    applied: np.ndarray  # bool
    magnitude: np.ndarray  # with its sign


class BatchPolicy(BatchTransform):
    """Base of the policies, which apply a few operations in sequence."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self.kernel = np.array([KERNEL_NAMES.index(op.kernel) for op in ops])
        self.params = np.zeros((len(ops), max(len(op.params) for op in ops)))
        for row, op in zip(self.params, ops):
            row[: len(op.params)] = op.params
        self.numbers = np.array([op[2:] for op in ops], dtype=np.float64).T

    @abstractmethod
    def choose(self, n: int) -> np.ndarray:
        """Draw the indices of the operations of n images, (S, n), in sequence."""

    def transform(self, images: torch.Tensor) -> torch.Tensor:
        return self.apply(images, self.sample(len(images)))

    def sample(self, n: int) -> List[Draw]:
        """Draw S operations in sequence for n images."""
        op = self.choose(n)
        happens, sign = uniform(2, *op.shape)
        prob, negative, low, high, level, total, std = self.numbers[:, op]
        noise = torch.randn(op.shape, dtype=torch.float64).numpy() * np.where(std < np.inf, std, 0)
        noisy = np.where(std > 0, np.clip(level + noise, 0, total), level)
        level = np.where(std < np.inf, noisy, uniform(*op.shape) * level)
        magnitude = level / total * (high - low) + low
        magnitude = np.where(sign < negative, -magnitude, magnitude)
        return [Draw(*arrays) for arrays in zip(op, happens < prob, magnitude)]

    def apply(self, images: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
        """Transform images, uint8 (N, 3, H, W), as drawn by :meth:`sample`."""
        images = images.clone()
        for op, applied, magnitude in draws:
            kernel = self.kernel[op] * applied
            for number in np.unique(kernel[kernel > 0]):
                chosen = np.flatnonzero(kernel == number)
                index = to_device(chosen, images)
                changed = KERNELS[KERNEL_NAMES[number]](
                    images.index_select(0, index), magnitude[chosen], self.params[op[chosen]]
                )
                images.index_copy_(0, index, changed)
        return images


@TRANSFORMS.register_module()
class BatchAutoAugment(BatchPolicy):
    """mmpretrain's ``AutoAugment`` for a batch.

    Args:
        policies (str | list[list[dict]]): As mmpretrain's: the name of a collection, or
            sub-policies of operations.
        hparams (dict): As mmpretrain's, which checks but does not use it (1.2.0): settings must be
            in the policies. Defaults to ``dict(pad_val=128)``.

    Raises:
        ConfigError: mmpretrain refuses the policies, or an operation is not supported.
    """

    def __init__(
        self, policies: Union[str, List[List[dict]]], hparams: dict = dict(pad_val=128)
    ) -> None:
        reference = reference_transform(AutoAugment, policies, hparams)
        ops, rows = [Op()], []
        for policy in reference.transforms:
            chosen = [read_op(t) for t in policy.transforms]
            rows.append(range(len(ops), len(ops) + len(chosen)))
            ops += chosen
        super().__init__(ops)
        # Shorter sub-policies are filled up with the identity.
        self.rows = np.zeros((max(map(len, rows)), len(rows)), np.int64)
        for i, row in enumerate(rows):
            self.rows[: len(row), i] = row

    def choose(self, n: int) -> np.ndarray:
        """Draw one sub-policy for each image; all are equally probable."""
        return self.rows[:, (uniform(n) * self.rows.shape[1]).astype(int)]


@TRANSFORMS.register_module()
class BatchRandAugment(BatchPolicy):
    """mmpretrain's ``RandAugment`` for a batch.

    Args:
        policies (str | list[dict]): As mmpretrain's: the name of a collection, or operations.
        num_policies (int): Operations per image, drawn with replacement.
        magnitude_level (int | float): Level of all magnitudes.
        magnitude_std (float | str): Standard deviation of the level; 'inf': uniform from 0 to the
            level. Defaults to 0.
        total_level (int | float): Highest level. Defaults to 10.
        hparams (dict): Defaults for settings of the operations. Defaults to ``dict(pad_val=128)``.

    Raises:
        ConfigError: mmpretrain refuses the policies, or an operation is not supported.
    """

    def __init__(
        self,
        policies: Union[str, List[dict]],
        num_policies: int,
        magnitude_level: float,
        magnitude_std: Union[float, str] = 0.0,
        total_level: float = 10,
        hparams: dict = dict(pad_val=128),
    ) -> None:
        settings = num_policies, magnitude_level, magnitude_std, total_level, hparams
        reference = reference_transform(RandAugment, policies, *settings)
        super().__init__([read_op(t) for t in reference.transforms])
        self.count, self.num_policies = len(reference.transforms), num_policies

    def choose(self, n: int) -> np.ndarray:
        """Draw the operations of each image; all are equally probable."""
        return (uniform(self.num_policies, n) * self.count).astype(int)
