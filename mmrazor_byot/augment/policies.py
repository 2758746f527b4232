"""AutoAugment and RandAugment, each image by its own draw."""

from abc import abstractmethod
from typing import List, Sequence, Union

import numpy as np
import torch
from mmpretrain.datasets import AutoAugment, RandAugment

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import TRANSFORMS

from .base import BatchTransform, Shape, Step, rule, uniform
from .blend import GREY_WEIGHTS
from .op_table import Draw, OpTable
from .ops import Op, Work, read_op
from .plan import Plan


class BatchPolicy(BatchTransform):
    """Base of the policies: a few operations, one after the other.

    Args:
        table (Sequence[Op]): All operations there are.
        channel_order (str): 'bgr' or 'rgb', for grey values.

    Raises:
        ConfigError: The channel order is neither.
    """

    def __init__(self, table: Sequence[Op], channel_order: str):
        if channel_order not in GREY_WEIGHTS:
            raise ConfigError(
                f'{type(self).__name__}: channel_order={channel_order!r}; it is "bgr" or "rgb"'
            )
        self.table = OpTable(table)
        self.weights = GREY_WEIGHTS[channel_order]

    @abstractmethod
    def choose(self, n: int) -> np.ndarray:
        """Numbers of the operations of n images, (S, n), in their order."""

    def draw(self, shape: Shape) -> List[Step]:
        return self.plan(self.sample(shape[0]), shape)

    def sample(self, n: int) -> Draw:
        """Draw for n images: arrays (S, n), for the operations in turn."""
        return self.table.draw(self.choose(n))

    def plan(self, draw: Draw, shape: Shape) -> List[Step]:
        """Steps for what was drawn.

        Before each operation the batch is sorted by the kind of work, so that
        images of one kind are one slice.

        Args:
            draw (Draw): See :meth:`sample`.
            shape (tuple): Of the images, (N, 3, H, W).

        Returns:
            list[Step]: The first makes a copy, the others work on it.
        """
        details, places = self.table.details(draw, shape[2:])
        steps, now = [], np.arange(shape[0])
        for work, place in zip(self.table.work(draw), places):
            if work.any():
                order = np.argsort(work[now], kind='stable')
                now = now[order]
                steps.append(Step(take, dict(index=order)))
                steps += Plan(work[now], place[now], details, self.weights, shape[2:]).steps()
        if steps:
            steps.append(Step(take, dict(index=np.argsort(now))))
        return steps


@TRANSFORMS.register_module()
class BatchAutoAugment(BatchPolicy):
    """mmpretrain's ``AutoAugment`` for a batch.

    The policies are handed to mmpretrain and read from what it builds.

    Args:
        policies (str | list[list[dict]]): As mmpretrain's: the name of a
            collection, or sub-policies of operations.
        hparams (dict): As mmpretrain's, which checks but does not use them
            (1.2.0): settings must stand in the policies.
        channel_order (str): How to weigh the channels for a grey value. MMCV
            takes every image for BGR, so also the RGB ones of CIFAR:
            'bgr', the default, does what it does, 'rgb' weighs RGB images
            as they are seen.

    Raises:
        ConfigError: mmpretrain refuses the policies, or an operation cannot
            be done in batches.
    """

    def __init__(
        self,
        policies: Union[str, List[List[dict]]],
        hparams: dict = dict(pad_val=128),
        channel_order: str = 'bgr',
    ):
        its = rule(AutoAugment, policies, hparams)
        table, rows = [Op(Work.NOTHING)], []
        for policy in its.transforms:
            chosen = [read_op(t) for t in policy.transforms]
            rows.append(range(len(table), len(table) + len(chosen)))
            table += chosen
        super().__init__(table, channel_order)
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
        policies (str | list[dict]): As mmpretrain's: the name of a
            collection, or operations.
        num_policies (int): How many are chosen, one after the other; the
            same one may come again.
        magnitude_level (int | float): Level of all magnitudes.
        magnitude_std (float | str): Of normal noise on the level; 'inf':
            uniform from 0 to the level. Defaults to 0.
        total_level (int | float): Highest level. Defaults to 10.
        hparams (dict): Settings for the operations that take them and have
            them not set. Defaults to ``dict(pad_val=128)``.
        channel_order (str): See :class:`BatchAutoAugment`.

    Raises:
        ConfigError: mmpretrain refuses the policies, or an operation cannot
            be done in batches.
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
        its = rule(
            RandAugment,
            policies,
            num_policies,
            magnitude_level,
            magnitude_std,
            total_level,
            hparams,
        )
        super().__init__([read_op(t) for t in its.transforms], channel_order)
        self.count, self.num_policies = len(its.transforms), num_policies

    def choose(self, n: int) -> np.ndarray:
        """Operations for each image, all with equal chance."""
        return (uniform(self.num_policies, n) * self.count).astype(int)


def take(images: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Images in another order (N,), a copy."""
    return images.index_select(0, index)
