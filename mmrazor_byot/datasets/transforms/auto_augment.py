"""AutoAugment and RandAugment, each image by its own draw.

Images whose operations are of one kind are worked on at once, see :data:`FAMILIES`.
"""

from abc import abstractmethod
from functools import partial
from typing import Callable, List, NamedTuple, Sequence, Tuple, Union

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import AutoAugment, RandAugment

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import TRANSFORMS

from . import cutout, geometry, tone
from .base import BatchTransform, OpGroup, Shape, Step, reference_transform, uniform

#: Kinds of operations that are done together, and what makes their step.
FAMILIES = (
    (tone.TABLE_OPS, tone.table_step),
    (('ColorTransform',), tone.color_step),
    (('Sharpness',), tone.sharpness_step),
    (('Cutout',), cutout.cutout_step),
    *(((name,), partial(geometry.warp_step, sampling=name)) for name in geometry.SAMPLINGS),
)
#: Kinds of operations, in the order of the images in a sorted batch.
KINDS = ('Nothing', *(name for names, _ in FAMILIES for name in names))

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
    params: Sequence[float] = ()  # settings that its family reads
    prob: float = 1.0  # of doing it
    negative: float = 0.0  # chance to turn the magnitude negative
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
    chances = (transform.prob, transform.random_negative_prob)
    fixed = MAGNITUDES[name] and getattr(transform, MAGNITUDES[name])
    if fixed is None and transform.magnitude_range is not None:
        level, total = transform.magnitude_level, transform.total_level
        std = float(transform.magnitude_std)
        return Op(kind, params, *chances, *transform.magnitude_range, level, total, std)
    # A Cutout of a height and a width has these as settings.
    value = fixed if fixed is not None and np.isscalar(fixed) else 0.0
    return Op(kind, params, *chances, low=value, high=value)


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
        channel_order (str): 'bgr' or 'rgb', for grey values.

    Raises:
        ConfigError: The channel order is neither.
    """

    def __init__(self, ops: Sequence[Op], channel_order: str):
        if channel_order not in tone.GREY_WEIGHTS:
            raise ConfigError(
                f'{type(self).__name__}: channel_order={channel_order!r}; it is "bgr" or "rgb"'
            )
        self.grey_weights = tone.GREY_WEIGHTS[channel_order]
        self.kind = np.array([KINDS.index(op.kind) for op in ops])
        self.params = np.zeros((len(ops), len(geometry.Warp._fields)))
        for row, op in zip(self.params, ops):
            row[: len(op.params)] = op.params
        self.chances = np.array([op[2:] for op in ops], dtype=np.float64).T
        self.std = self.chances[-1]

    @abstractmethod
    def choose(self, n: int) -> np.ndarray:
        """Numbers of the operations of n images, (S, n), in their order."""

    def draw(self, shape: Shape) -> List[Step]:
        return self.schedule(self.sample(shape[0]), shape)

    def sample(self, n: int) -> Draw:
        """Draw for n images: arrays (S, n), for the operations in turn."""
        op = self.choose(n)
        chance, sign = uniform(2, *op.shape)
        prob, negative, low, high, level, total, std = self.chances[:, op]
        if np.isinf(self.std).any():
            level = np.where(np.isinf(std), uniform(*op.shape) * level, level)
        if ((self.std > 0) & np.isfinite(self.std)).any():
            noise = torch.randn(op.shape, dtype=torch.float64).numpy()
            noise *= np.where(np.isfinite(std), std, 0)
            level = np.where(std > 0, np.clip(level + noise, 0, total), level)
        magnitude = level / total * (high - low) + low
        return Draw(op, chance < prob, np.where(sign < negative, -magnitude, magnitude))

    def schedule(self, draw: Draw, shape: Shape) -> List[Step]:
        """Steps for what was drawn: the first makes a copy, the others work on it.

        Before each operation the batch is sorted by kind, so that images of one kind are one slice.

        Args:
            draw (Draw): See :meth:`sample`.
            shape (tuple): Of the images, (N, 3, H, W).
        """
        steps, now = [], np.arange(shape[0])
        for op, done, magnitude in draw.turns():
            kind = self.kind[op] * done
            if kind.any():
                order = np.argsort(kind[now], kind='stable')
                now = now[order]
                steps.append(Step(take, dict(index=order)))
                steps += self._family_steps(kind[now], op[now], magnitude[now], shape[2:])
        if steps:
            steps.append(Step(take, dict(index=np.argsort(now))))
        return steps

    def _family_steps(
        self, kind: np.ndarray, op: np.ndarray, magnitude: np.ndarray, size: Tuple[int, int]
    ) -> List[Step]:
        """For sorted images; the steps work in place."""
        counts = np.bincount(kind, minlength=len(KINDS)).tolist()
        steps, first, stop = [], 1, counts[0]
        for names, make_step in FAMILIES:
            own = counts[first : first + len(names)]
            part = slice(stop, stop + sum(own))
            first, stop = first + len(names), part.stop
            if any(own):
                step = make_step(
                    OpGroup(own, magnitude[part], self.params[op[part]], size, self.grey_weights)
                )
                steps.append(step._replace(kernel=partial(on_part, kernel=step.kernel, part=part)))
        return steps


@TRANSFORMS.register_module()
class BatchAutoAugment(BatchPolicy):
    """mmpretrain's ``AutoAugment`` for a batch.

    The policies are handed to mmpretrain and read from what it builds.

    Args:
        policies (str | list[list[dict]]): As mmpretrain's: the name of a collection, or
            sub-policies of operations.
        hparams (dict): As mmpretrain's, which checks but does not use them (1.2.0): settings must
            be in the policies.
        channel_order (str): How to weigh the channels for a grey value. MMCV takes every image for
            BGR, so also the RGB ones of CIFAR: 'bgr', the default, does what it does, 'rgb' weighs
            RGB images as they are seen.

    Raises:
        ConfigError: mmpretrain refuses the policies, or an operation cannot be done in batches.
    """

    def __init__(
        self,
        policies: Union[str, List[List[dict]]],
        hparams: dict = dict(pad_val=128),
        channel_order: str = 'bgr',
    ):
        reference = reference_transform(AutoAugment, policies, hparams)
        ops, rows = [Op()], []
        for policy in reference.transforms:
            chosen = [read_op(t) for t in policy.transforms]
            rows.append(range(len(ops), len(ops) + len(chosen)))
            ops += chosen
        super().__init__(ops, channel_order)
        # Shorter sub-policies end in nothing.
        self.rows = np.zeros((max(map(len, rows)), len(rows)), np.int64)
        for i, row in enumerate(rows):
            self.rows[: len(row), i] = row

    def choose(self, n: int) -> np.ndarray:
        """One sub-policy for each image, all with equal chance."""
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
        channel_order (str): See :class:`BatchAutoAugment`.

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
        channel_order: str = 'bgr',
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
        super().__init__([read_op(t) for t in reference.transforms], channel_order)
        self.count, self.num_policies = len(reference.transforms), num_policies

    def choose(self, n: int) -> np.ndarray:
        """Operations for each image, all with equal chance."""
        return (uniform(self.num_policies, n) * self.count).astype(int)


def take(images: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Images in another order (N,), a copy."""
    return images.index_select(0, index)


def on_part(
    images: torch.Tensor, kernel: Callable, part: slice, **draws: torch.Tensor
) -> torch.Tensor:
    """Change some of the images in place."""
    some = images[part]
    some.copy_(kernel(some, **draws))
    return images
