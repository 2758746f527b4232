"""Operations of a policy: what is drawn for each image of a batch."""

from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import torch

from .base import uniform
from .details import work_out
from .ops import Op
from .transfer import Draws


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


class OpTable:
    """All operations of a policy.

    Args:
        table (Sequence[Op]): They.
    """

    def __init__(self, table: Sequence[Op]):
        self.numbers = np.array(table, dtype=np.float64).T
        self._work = Op(*self.numbers).work.astype(np.int64)
        std = Op(*self.numbers).std
        self._uniform = bool(np.isinf(std).any())
        self._normal = bool(((std > 0) & np.isfinite(std)).any())
        self._known: Dict[Tuple[int, int], Draws] = {}

    def draw(self, op: np.ndarray) -> Draw:
        """Draw whether and how chosen operations are done.

        Args:
            op (np.ndarray): Numbers of the operations, of any shape.
        """
        chance, sign = uniform(2, *op.shape)
        its = Op(*self.numbers[:, op])
        magnitude = self._magnitude(its)
        magnitude = np.where(sign < its.negative, -magnitude, magnitude)
        return Draw(op, chance < its.prob, magnitude)

    def _magnitude(self, its: Op) -> np.ndarray:
        level, shape = its.level, its.level.shape
        if self._uniform:
            level = np.where(np.isinf(its.std), uniform(*shape) * level, level)
        if self._normal:
            z = torch.randn(shape, dtype=torch.float64).numpy()
            std = np.where(np.isfinite(its.std), its.std, 0)
            noisy = np.clip(level + z * std, 0, its.total)
            level = np.where(std > 0, noisy, level)
        return level / its.total * (its.high - its.low) + its.low

    def work(self, draw: Draw) -> np.ndarray:
        """Kind of work for each image, of the shape of the draw."""
        return self._work[draw.op] * draw.done

    def details(self, draw: Draw, size: Tuple[int, int]) -> Tuple[Draws, np.ndarray]:
        """What the kernels need for operations of drawn magnitudes.

        Without noise a magnitude is one of two, and what they need is worked
        out once.

        Args:
            draw (Draw): Arrays of any shape.
            size (tuple): Height and width of the images.

        Returns:
            tuple: Arrays (V, ...) by name, see :func:`work_out`; and for each
            drawn operation its place in them, of the shape of the draw.
        """
        if self._uniform or self._normal:
            its = Op(*self.numbers[:, draw.op.ravel()])
            place = np.arange(draw.op.size).reshape(draw.op.shape)
            return work_out(its, draw.magnitude.ravel(), size), place
        its, count = Op(*self.numbers), self.numbers.shape[1]
        value = self._magnitude(its)
        if size not in self._known:
            both = Op(*np.hstack([self.numbers, self.numbers]))
            magnitude = np.concatenate([value, -value])
            self._known = {size: work_out(both, magnitude, size)}
        negated = draw.magnitude != value[draw.op]
        return self._known[size], draw.op + negated * count
