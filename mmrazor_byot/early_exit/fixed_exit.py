"""Stop at one exit, whatever it says."""

from typing import List, Optional, Sequence

import torch
from torch import Tensor

from mmrazor_byot.errors import ConfigError

from .base import ExitPolicy


class FixedExitPolicy(ExitPolicy):
    """Stop at one exit; with ``ensemble``, answer with all up to it.

    Args:
        exit_number (int): 1 to C, or -1 for the deepest. Defaults to -1.
        temperatures, ensemble: As in :class:`ExitPolicy`.
    """

    def __init__(
        self,
        exit_number: int = -1,
        temperatures: Optional[Sequence[float]] = None,
        ensemble: bool = False,
    ) -> None:
        super().__init__(temperatures, ensemble)
        self.exit_number = int(exit_number)
        whole = self.exit_number == exit_number
        if not whole or (exit_number < 1 and exit_number != -1):
            raise ConfigError(
                f'{self.name}: exit_number={exit_number!r}; exits are counted from 1, -1 is the '
                'deepest'
            )

    def last(self, num_exits: int) -> int:
        return num_exits if self.exit_number == -1 else self.exit_number

    def reads(self, exit_number: int) -> bool:
        return self.ensemble  # the last exit is read in any case

    def leaves(self, reached: List[Tensor], exit_number: int) -> Tensor:
        return torch.zeros_like(reached[-1][:, 0], dtype=torch.bool)  # all stop at the last

    def check(self, num_exits: int) -> None:
        super().check(num_exits)
        if self.exit_number > num_exits:
            raise ConfigError(
                f'{self.name}: exit_number={self.exit_number}, but the network has {num_exits} '
                'exits'
            )
