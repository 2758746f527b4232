"""Stop where an exit is sure enough of its answer."""

from numbers import Real
from typing import List, Optional, Sequence, Union

import torch
from torch import Tensor

from mmrazor_byot.errors import ConfigError

from .base import ExitPolicy
from .scores import confidence, entropy, margin


class _ThresholdPolicy(ExitPolicy):
    """Base of those that compare a score of the answer with a threshold.

    Args:
        thresholds (float | Sequence[float | None]): One for all exits, or one for each but the
            deepest. None: nobody stops there.
        temperatures, ensemble: As in :class:`ExitPolicy`.
    """

    #: Whether the surer answer is the one with the larger score.
    larger_is_surer = True

    def __init__(
        self,
        thresholds: Union[float, Sequence[Optional[float]]],
        temperatures: Optional[Sequence[float]] = None,
        ensemble: bool = False,
    ) -> None:
        super().__init__(temperatures, ensemble)
        if isinstance(thresholds, Real):
            thresholds = float(thresholds)
        else:
            thresholds = [None if t is None else float(t) for t in thresholds]
        given = thresholds if isinstance(thresholds, list) else [thresholds]
        if not all(t is None or 0 <= t <= 1 for t in given):
            raise ConfigError(
                f'{self.name}: thresholds={thresholds}; each must be from 0 to 1, or None'
            )
        self.thresholds = thresholds

    def threshold(self, exit_number: int) -> Optional[float]:
        """The threshold of one exit."""
        if isinstance(self.thresholds, list):
            return self.thresholds[exit_number - 1]
        return self.thresholds

    def score(self, probabilities: Tensor) -> Tensor:
        """What is compared: (N, K) to (N,), from 0 to 1."""
        raise NotImplementedError

    def reads(self, exit_number: int) -> bool:
        return self.ensemble or self.threshold(exit_number) is not None

    def leaves(self, reached: List[Tensor], exit_number: int) -> Tensor:
        threshold = self.threshold(exit_number)
        if threshold is None:
            return torch.zeros_like(reached[-1][:, 0], dtype=torch.bool)
        score = self.score(self.answer(reached))
        if self.larger_is_surer:
            return score >= threshold
        return score <= threshold

    def check(self, num_exits: int) -> None:
        super().check(num_exits)
        given = self.thresholds
        if isinstance(given, list) and len(given) != num_exits - 1:
            raise ConfigError(
                f'{self.name}: {len(given)} thresholds for a network of {num_exits} exits; it '
                f'needs {num_exits - 1}, as the deepest has none'
            )


class ConfidencePolicy(_ThresholdPolicy):
    """Stop where the largest probability reaches the exit's threshold."""

    def score(self, probabilities: Tensor) -> Tensor:
        return confidence(probabilities)


class MarginPolicy(_ThresholdPolicy):
    """Stop where the two largest probabilities are far enough apart."""

    def score(self, probabilities: Tensor) -> Tensor:
        return margin(probabilities)


class EntropyPolicy(_ThresholdPolicy):
    """Stop where the entropy, a share of log K, is small enough."""

    larger_is_surer = False

    def score(self, probabilities: Tensor) -> Tensor:
        return entropy(probabilities)
