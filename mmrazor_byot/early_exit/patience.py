"""Stop where several exits agree."""

from typing import List, Optional, Sequence

import torch
from torch import Tensor

from mmrazor_byot.errors import ConfigError

from .base import ExitPolicy
from .scores import agreement


class PatiencePolicy(ExitPolicy):
    """Stop where the last exits give the same answer.

    Args:
        patience (int): How many exits in a row must agree. Defaults to 2.
        temperatures, ensemble: As in :class:`ExitPolicy`.
    """

    def __init__(
        self,
        patience: int = 2,
        temperatures: Optional[Sequence[float]] = None,
        ensemble: bool = False,
    ) -> None:
        super().__init__(temperatures, ensemble)
        self.patience = int(patience)
        if self.patience != patience or patience < 1:
            raise ConfigError(
                f'{self.name}: patience={patience!r}; it must be a whole number, at least 1'
            )

    def last(self, num_exits: int) -> int:
        return 1 if self.patience == 1 else num_exits

    def leaves(self, reached: List[Tensor], exit_number: int) -> Tensor:
        labels = torch.stack([p.argmax(-1) for p in reached], -1)
        return agreement(labels) >= self.patience
