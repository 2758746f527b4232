"""AutoAugment and RandAugment, each image by its own draw.

Images whose operations are of one kind are done at once, see :data:`KERNELS`.
"""

from abc import abstractmethod
from functools import partial
from typing import List, NamedTuple, Sequence, Union

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import AutoAugment, RandAugment

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import TRANSFORMS

from . import cutout, geometry, tone
from .base import BatchTransform, reference_transform, to_device, uniform

#: What does each kind of operation: ``(images, magnitude, params) -> images``, for images, uint8
#: (n, 3, H, W), with the magnitudes (n,) and the settings (n, P) of their operations.
KERNELS = dict(
    **tone.OPS,
    Cutout=cutout.cutout,
    **{name: partial(geometry.warp, sampling=name) for name in geometry.SAMPLINGS},
)
#: Kinds of operations by number; 0 is nothing.
KINDS = ('Nothing', *KERNELS)

#: mmpretrain's operations that can be done, and where it keeps their magnitude.
MAGNITUDES = dict(
    AutoContrast=None,
    Invert=None,
    Equalize=None,
    Solarize='thr',
    SolarizeAdd='magnitude',
    Posterize='bits',
    Contrast='magnitude',
    ColorTransform='magnitude',
    Brightness='magnitude',
    Sharpness='magnitude',
    Cutout='shape',
    Rotate='angle',
    Shear='magnitude',
    Translate='magnitude',
)


class Op(NamedTuple):
    """One operation of a policy.

    Its magnitude is ``level / total * (high - low) + low`` with a random level, see mmpretrain's
    ``BaseAugTransform``.
    """

    kind: str = 'Nothing'
    params: Sequence[float] = ()  # settings of its kind
    prob: float = 1.0  # of doing it
    negative: float = 0.0  # probability of turning the magnitude negative
    low: float = 0.0
    high: float = 0.0
    level: float = 1.0
    total: float = 1.0
    std: float = 0.0  # of the level; inf: uniform from 0 to the level


def read_op(transform: BaseTransform) -> Op:
    """What one of mmpretrain's augmenting transforms does.

    Args:
        transform (BaseTransform): A ``BaseAugTransform`` of ``mmpretrain.datasets``.

    Raises:
        ConfigError: It cannot be done in batches.
    """
    name = type(transform).__name__
    if name not in MAGNITUDES:
        raise ConfigError(f'{name} cannot be done in batches; these can: {", ".join(MAGNITUDES)}')
    kind, params = name, ()
    if name in ('Rotate', 'Shear', 'Translate'):
        kind, params = geometry.read_warp(transform)
    elif name == 'Cutout':
        params = cutout.read_cutout(transform)
    elif name == 'SolarizeAdd':
        params = (transform.thr,)
    probs = (transform.prob, transform.random_negative_prob)
    fixed = MAGNITUDES[name] and getattr(transform, MAGNITUDES[name])
    if fixed is None and transform.magnitude_range is not None:
        level, total = transform.magnitude_level, transform.total_level
        std = float(transform.magnitude_std)
        return Op(kind, params, *probs, *transform.magnitude_range, level, total, std)
    # A Cutout of a height and a width has these as settings.
    value = fixed if fixed is not None and np.isscalar(fixed) else 0.0
    return Op(kind, params, *probs, low=value, high=value)


class Draw(NamedTuple):
    """What was drawn for a batch.

    Arrays (S, N) for S operations one after the other, or (N,) for one.
    """

    op: np.ndarray  # number of the operation
    done: np.ndarray  # whether it is done, bool
    magnitude: np.ndarray  # with its sign

    def turns(self) -> List['Draw']:
        """One for each operation in turn."""
        return [Draw(*columns) for columns in zip(*self)]


class BatchPolicy(BatchTransform):
    """Base of the policies: a few operations, one after the other.

    Args:
        ops (Sequence[Op]): All operations there are.
    """

    def __init__(self, ops: Sequence[Op]):
        self.kind = np.array([KINDS.index(op.kind) for op in ops])
        self.params = np.zeros((len(ops), max(len(op.params) for op in ops)))
        for row, op in zip(self.params, ops):
            row[: len(op.params)] = op.params
        self.numbers = np.array([op[2:] for op in ops], dtype=np.float64).T

    @abstractmethod
    def choose(self, n: int) -> np.ndarray:
        """Numbers of the operations of n images, (S, n), in their order."""

    def transform(self, images: torch.Tensor) -> torch.Tensor:
        return self.apply(images, self.sample(len(images)))

    def sample(self, n: int) -> Draw:
        """Draw for n images: arrays (S, n), for the operations in turn."""
        op = self.choose(n)
        happens, sign = uniform(2, *op.shape)
        prob, negative, low, high, level, total, std = self.numbers[:, op]
        noise = torch.randn(op.shape, dtype=torch.float64).numpy() * np.where(std < np.inf, std, 0)
        noisy = np.where(std > 0, np.clip(level + noise, 0, total), level)
        level = np.where(std < np.inf, noisy, uniform(*op.shape) * level)
        magnitude = level / total * (high - low) + low
        return Draw(op, happens < prob, np.where(sign < negative, -magnitude, magnitude))

    def apply(self, images: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Do with images, uint8 (N, 3, H, W), what was drawn for them, see :meth:`sample`."""
        images = images.clone()
        for op, done, magnitude in draw.turns():
            kind = self.kind[op] * done
            for number in np.unique(kind[kind > 0]):
                chosen = np.flatnonzero(kind == number)
                index = to_device(chosen, images)
                changed = KERNELS[KINDS[number]](
                    images.index_select(0, index), magnitude[chosen], self.params[op[chosen]]
                )
                images.index_copy_(0, index, changed)
        return images


@TRANSFORMS.register_module()
class BatchAutoAugment(BatchPolicy):
    """mmpretrain's ``AutoAugment`` for a batch.

    The policies are handed to mmpretrain and read from what it builds.

    Args:
        policies (str | list[list[dict]]): As mmpretrain's: the name of a collection, or
            sub-policies of operations.
        hparams (dict): As mmpretrain's, which checks but does not use them (1.2.0): settings must
            be in the policies.

    Raises:
        ConfigError: mmpretrain refuses the policies, or an operation cannot be done in batches.
    """

    def __init__(self, policies: Union[str, List[List[dict]]], hparams: dict = dict(pad_val=128)):
        reference = reference_transform(AutoAugment, policies, hparams)
        ops, rows = [Op()], []
        for policy in reference.transforms:
            chosen = [read_op(t) for t in policy.transforms]
            rows.append(range(len(ops), len(ops) + len(chosen)))
            ops += chosen
        super().__init__(ops)
        # Shorter sub-policies end in nothing.
        self.rows = np.zeros((max(map(len, rows)), len(rows)), np.int64)
        for i, row in enumerate(rows):
            self.rows[: len(row), i] = row

    def choose(self, n: int) -> np.ndarray:
        """One sub-policy for each image, all with equal probability."""
        return self.rows[:, (uniform(n) * self.rows.shape[1]).astype(int)]


@TRANSFORMS.register_module()
class BatchRandAugment(BatchPolicy):
    """mmpretrain's ``RandAugment`` for a batch.

    Args:
        policies (str | list[dict]): As mmpretrain's: the name of a collection, or operations.
        num_policies (int): How many are chosen, one after the other; the same one may come again.
        magnitude_level (int | float): Level of all magnitudes.
        magnitude_std (float | str): Of normal noise on the level; 'inf': uniform from 0 to the
            level. Defaults to 0.
        total_level (int | float): Highest level. Defaults to 10.
        hparams (dict): Settings for the operations that take them and have them not set. Defaults
            to ``dict(pad_val=128)``.

    Raises:
        ConfigError: mmpretrain refuses the policies, or an operation cannot be done in batches.
    """

    def __init__(
        self,
        policies: Union[str, List[dict]],
        num_policies: int,
        magnitude_level: float,
        magnitude_std: Union[float, str] = 0.0,
        total_level: float = 10,
        hparams: dict = dict(pad_val=128),
    ):
        reference = reference_transform(
            RandAugment,
            policies,
            num_policies,
            magnitude_level,
            magnitude_std,
            total_level,
            hparams,
        )
        super().__init__([read_op(t) for t in reference.transforms])
        self.count, self.num_policies = len(reference.transforms), num_policies

    def choose(self, n: int) -> np.ndarray:
        """Operations for each image, all with equal probability."""
        return (uniform(self.num_policies, n) * self.count).astype(int)
