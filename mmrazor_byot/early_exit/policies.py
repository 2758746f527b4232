"""The exit policies."""

from typing import Iterable, List, Optional, Sequence, Union

import torch
from torch import Tensor

from mmrazor_byot.errors import ConfigError

from .base import ExitPolicy
from .scores import agreement, confidence, entropy, margin


class FixedExitPolicy(ExitPolicy):
    """Stop all samples at one exit; with ``ensemble``, use those before it too.

    Args:
        exit_number (int): 1 to C, or -1 for the deepest. Defaults to -1.
        temperatures, ensemble: See :class:`ExitPolicy`.
    """

    def __init__(
        self,
        exit_number: int = -1,
        temperatures: Optional[Sequence[float]] = None,
        ensemble: bool = False,
    ) -> None:
        super().__init__(temperatures, ensemble)
        self.exit_number = int(exit_number)
        if self.exit_number != exit_number or (exit_number < 1 and exit_number != -1):
            raise ConfigError(
                f'{self.name}: exit_number={exit_number!r}; the first is 1, the deepest -1'
            )

    def last(self, num_exits: int) -> int:
        return num_exits if self.exit_number == -1 else self.exit_number

    def uses_exit(self, exit_number: int) -> bool:
        return self.ensemble  # the last exit is always used

    def should_exit(self, reached: List[Tensor], exit_number: int) -> Tensor:
        return torch.zeros(len(reached[-1]), dtype=torch.bool)

    def check(self, num_exits: int) -> None:
        super().check(num_exits)
        if self.exit_number > num_exits:
            raise ConfigError(
                f'{self.name}: exit_number={self.exit_number}; the network has {num_exits} exits'
            )


class PatiencePolicy(ExitPolicy):
    """Stop if several exits in a row predict the same class.

    Args:
        patience (int): How many exits in a row must agree. Defaults to 2.
        temperatures, ensemble: See :class:`ExitPolicy`.
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
            raise ConfigError(f'{self.name}: patience={patience!r}; must be a whole number from 1')

    def last(self, num_exits: int) -> int:
        return 1 if self.patience == 1 else num_exits

    def should_exit(self, reached: List[Tensor], exit_number: int) -> Tensor:
        labels = torch.stack([p.argmax(-1) for p in reached], -1)
        return agreement(labels) >= self.patience


class ThresholdPolicy(ExitPolicy, abstract=True):
    """Base class of the policies that compare a score of the prediction with a threshold.

    Args:
        thresholds (float | Iterable[float | None]): One for all exits, or one for each but the
            deepest. No sample stops at an exit whose threshold is None.
        temperatures, ensemble: See :class:`ExitPolicy`.
    """

    higher_is_more_confident = True

    def __init__(
        self,
        thresholds: Union[float, Iterable[Optional[float]]],
        temperatures: Optional[Sequence[float]] = None,
        ensemble: bool = False,
    ) -> None:
        super().__init__(temperatures, ensemble)
        self.thresholds: Union[float, List[Optional[float]]]
        if isinstance(thresholds, Iterable):
            self.thresholds = [None if t is None else float(t) for t in thresholds]
        else:
            self.thresholds = float(thresholds)
        given = self.thresholds if isinstance(self.thresholds, list) else [self.thresholds]
        if not all(t is None or 0 <= t <= 1 for t in given):
            raise ConfigError(f'{self.name}: thresholds={self.thresholds}; must be 0 to 1 or None')

    def threshold(self, exit_number: int) -> Optional[float]:
        """The threshold of one exit."""
        if isinstance(self.thresholds, list):
            return self.thresholds[exit_number - 1]
        return self.thresholds

    @staticmethod
    def score(probabilities: Tensor) -> Tensor:
        """The score, (N, K) to (N,), from 0 to 1."""
        raise NotImplementedError

    def uses_exit(self, exit_number: int) -> bool:
        return self.ensemble or self.threshold(exit_number) is not None

    def should_exit(self, reached: List[Tensor], exit_number: int) -> Tensor:
        threshold = self.threshold(exit_number)
        if threshold is None:
            return torch.zeros(len(reached[-1]), dtype=torch.bool)
        score = self.score(self.answer(reached))
        return score >= threshold if self.higher_is_more_confident else score <= threshold

    def check(self, num_exits: int) -> None:
        super().check(num_exits)
        given = self.thresholds
        if isinstance(given, list) and len(given) != num_exits - 1:
            raise ConfigError(
                f'{self.name}: {len(given)} thresholds for a network of {num_exits} exits; '
                f'it needs {num_exits - 1}, as the deepest has none'
            )


class ConfidencePolicy(ThresholdPolicy):
    """Stop if the largest probability is at least the threshold."""

    score = staticmethod(confidence)


class MarginPolicy(ThresholdPolicy):
    """Stop if the two largest probabilities differ by at least the threshold."""

    score = staticmethod(margin)


class EntropyPolicy(ThresholdPolicy):
    """Stop if the entropy, as a fraction of log K, is at most the threshold."""

    higher_is_more_confident = False
    score = staticmethod(entropy)
