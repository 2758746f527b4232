"""Search for the thresholds of a policy: one shared by all exits, or one for each."""

import copy
from functools import partial
from itertools import combinations, product
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import torch

from mmrazor_byot.early_exit import ThresholdPolicy, build_policy
from mmrazor_byot.errors import ConfigError

Thresholds = Sequence[Optional[float]]
#: How many quantiles of an exit's scores are tried as thresholds.
LEVELS = 30
#: Fraction of the deepest exit's cost that a percentage point of accuracy is worth.
COST_PER_POINT = 0.1


class Result(NamedTuple):
    """Results of a policy."""

    accuracy: float  # from 0 to 1
    cost: float  # mean of an image
    fractions: np.ndarray  # of the images that stop at each exit, (C,)


class AccuracyTarget(NamedTuple):
    """The least cost at which a policy has this accuracy."""

    accuracy: float

    def key(self, result: Result) -> Tuple[float, ...]:
        """Sort key: what misses the target by more is smaller, then what is worse."""
        missing = max(0.0, self.accuracy - result.accuracy)
        return -missing, -result.cost, result.accuracy

    def value(self, result: Result, deepest_cost: float) -> float:
        """Larger is better; a miss is weighed against the cost that it saves."""
        missing = max(0.0, self.accuracy - result.accuracy)
        return -result.cost / deepest_cost - COST_PER_POINT * 100 * missing


class CostTarget(NamedTuple):
    """The best accuracy at which a policy has at most this mean cost."""

    cost: float

    def key(self, result: Result) -> Tuple[float, ...]:
        """See :meth:`AccuracyTarget.key`."""
        excess = max(0.0, result.cost - self.cost)
        return -excess, result.accuracy, -result.cost

    def value(self, result: Result, deepest_cost: float) -> float:
        """See :meth:`AccuracyTarget.value`."""
        excess = max(0.0, result.cost - self.cost)
        return COST_PER_POINT * 100 * result.accuracy - excess / deepest_cost


Target = Union[AccuracyTarget, CostTarget]


class Costs(NamedTuple):
    """What an image costs, in any unit, for exit 1 to C."""

    cumulative: Sequence[float]  # stopping at the exit, the heads of all exits before it run
    fixed: Sequence[float]  # the network cut at the exit
    heads: Sequence[float]  # the exit's head
    unit: str = 'FLOPs'

    @classmethod
    def of_stages(
        cls, sections: Sequence[float], heads: Sequence[float], unit: str = 'FLOPs'
    ) -> 'Costs':
        """From the cost of each section and of each exit head."""
        fixed = np.cumsum(sections) + heads
        return cls(np.cumsum(np.add(sections, heads)).tolist(), fixed.tolist(), heads, unit)

    def check(self, num_exits: int) -> None:
        """Raise a ConfigError if they are not finite, positive numbers of so many exits."""
        for name in ('cumulative', 'fixed', 'heads'):
            values = np.array(getattr(self, name), float)
            if values.shape != (num_exits,):
                raise ConfigError(f'times of {values.size} exits, but the network has {num_exits}')
            # The deepest exit has no head, and a shallow one may be too fast to be measured.
            wrong = ~np.isfinite(values) | (values < 0) | ((values == 0) & (name != 'heads'))
            if wrong.any():
                i = int(wrong.argmax())
                raise ConfigError(
                    f'{name} is {values[i]} at exit {i + 1}; costs are finite and positive'
                )


class Exits:
    """Scores and correctness of a policy's predictions at every exit.

    It is given calibrated probabilities (M, C, K) and the type of a :class:`ThresholdPolicy`.

    Raises:
        ConfigError: The policy has no thresholds.
    """

    def __init__(
        self, probabilities: np.ndarray, labels: np.ndarray, costs: Costs, kind: str, ensemble: bool
    ) -> None:
        self.kind, self.ensemble, self.costs = kind, ensemble, costs
        policy = build_policy(dict(type=kind, thresholds=0.0, ensemble=ensemble))
        if not isinstance(policy, ThresholdPolicy):
            raise ConfigError(f'{kind} has no thresholds')
        self.sign = 1 if policy.higher_is_more_confident else -1
        exits = torch.from_numpy(probabilities).unbind(1)
        answers = [policy.answer(list(exits[: i + 1])) for i in range(len(exits))]
        self.correct = np.stack([a.argmax(1).numpy() == labels for a in answers])
        self.scores = self.sign * np.stack([policy.score(a).numpy() for a in answers[:-1]])

    def subset(self, chosen: np.ndarray) -> 'Exits':
        """The same for some of the images, indexed by (M,) bool."""
        subset = copy.copy(self)
        subset.correct, subset.scores = self.correct[:, chosen], self.scores[:, chosen]
        return subset

    def evaluate(self, thresholds: Thresholds) -> Result:
        """Stop each image at the first exit whose score reaches its threshold."""
        remaining = np.ones(self.correct.shape[1], bool)
        stopped, right = [], 0
        for threshold, scores, correct in zip(thresholds, self.scores, self.correct):
            stop = remaining & (scores >= (np.inf if threshold is None else self.sign * threshold))
            stopped.append(np.count_nonzero(stop))
            right += np.count_nonzero(stop & correct)
            remaining = remaining & ~stop
        stopped.append(np.count_nonzero(remaining))
        right += np.count_nonzero(remaining & self.correct[-1])
        fractions = np.array(stopped) / len(remaining)
        skipped = [not self.ensemble and t is None for t in thresholds]
        saved = np.cumsum([0.0, *np.multiply(self.costs.heads[:-1], skipped)])
        cost = float(fractions @ (self.costs.cumulative - saved))
        return Result(right / len(remaining), cost, fractions)

    def levels(self, exit_index: int) -> List[Optional[float]]:
        """Thresholds to try at an exit, from no image to all."""
        scores = np.quantile(self.scores[exit_index], np.linspace(0, 1, LEVELS + 1))
        return [None, *(float(self.sign * s) for s in np.unique(scores))]


def best_shared(exits: Exits, target: Target) -> List[Optional[float]]:
    """The best single threshold for all exits, C - 1 times."""
    count = len(exits.scores)
    levels = {t for i in range(count) for t in exits.levels(i) if t is not None}
    tried: List[List[Optional[float]]] = [[t] * count for t in sorted(levels)]
    return max([*tried, [None] * count], key=lambda t: target.key(exits.evaluate(t)))


def best_joint(exits: Exits, target: Target) -> List[Optional[float]]:
    """The best C - 1 thresholds found, one for each exit; never worse than the shared one.

    Accuracy is first traded for cost at several rates, starting from the shared threshold; the best
    of the results is then improved for the target itself.
    """

    def traded(rate: float, result: Result) -> Tuple[float, ...]:
        return (result.accuracy - rate * result.cost / exits.costs.fixed[-1],)

    start = best_shared(exits, target)
    # A rate is the accuracy that the deepest exit's cost is worth.
    rates = np.geomspace(0.01, 1, 7)
    found = [start, *(_improve(exits, start, partial(traded, rate)) for rate in rates)]
    best = max(found, key=lambda t: target.key(exits.evaluate(t)))
    # Two at once: one may spend the cost that the other saves.
    return _improve(exits, best, target.key, at_once=2)


def _improve(
    exits: Exits,
    thresholds: Thresholds,
    key: Callable[[Result], Tuple[float, ...]],
    at_once: int = 1,
) -> List[Optional[float]]:
    """Coordinate ascent: change one threshold (or two) as long as the key gets larger."""
    best = list(thresholds)
    best_key = key(exits.evaluate(best))
    levels = [exits.levels(i) for i in range(len(best))]
    groups = list(combinations(range(len(best)), min(at_once, len(best))))
    changed = True
    while changed:
        changed = False
        for group in groups:
            for choice in product(*(levels[i] for i in group)):
                trial = list(best)
                for i, threshold in zip(group, choice):
                    trial[i] = threshold
                trial_key = key(exits.evaluate(trial))
                if trial_key > best_key:
                    best, best_key, changed = trial, trial_key, True
    return best
