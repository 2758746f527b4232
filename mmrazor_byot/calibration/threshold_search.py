"""Thresholds for a target: one for all exits, or one for each."""

import copy
from itertools import combinations, product
from typing import Callable, List, NamedTuple, Optional, Sequence

import numpy as np
import torch

from mmrazor_byot.early_exit import build_policy

Thresholds = Sequence[Optional[float]]
#: How many quantiles of an exit's scores are tried as thresholds.
LEVELS = 30
#: To weigh a miss against cost: a percentage point of accuracy for a tenth of the network.
COST_PER_POINT = 0.1


class Result(NamedTuple):
    """What a policy achieves.

    Attributes:
        accuracy (float): From 0 to 1.
        cost (float): Mean cost of an image.
        shares (np.ndarray): Fraction of the images that stop at each exit, (C,).
    """

    accuracy: float
    cost: float
    shares: np.ndarray


class Target(NamedTuple):
    """What is asked for: the least cost, or the best accuracy.

    Attributes:
        accuracy (float | None): Reach this one, at the least cost.
        cost (float | None): Keep to this mean cost, at the best accuracy.
    """

    accuracy: Optional[float] = None
    cost: Optional[float] = None

    def key(self, result: Result) -> tuple:
        """The larger, the better; what misses the target comes last."""
        if self.accuracy is not None:
            missing = max(0.0, self.accuracy - result.accuracy)
            return -missing, -result.cost, result.accuracy
        missing = max(0.0, result.cost - self.cost)
        return -missing, result.accuracy, -result.cost

    def value(self, result: Result, whole: float) -> float:
        """The larger, the better; a small miss is weighed against what it gains.

        Args:
            result (Result): What to judge.
            whole (float): Cost of the deepest exit alone.
        """
        if self.accuracy is not None:
            missing = 100 * max(0.0, self.accuracy - result.accuracy)
            return -result.cost / whole - COST_PER_POINT * missing
        excess = max(0.0, result.cost - self.cost) / whole
        return COST_PER_POINT * 100 * result.accuracy - excess


class Costs(NamedTuple):
    """What an image costs, in any unit.

    Attributes:
        cumulative (Sequence[float]): Of stopping at each exit if the heads of all before it are
            run, C numbers.
        fixed (Sequence[float]): Of a network cut at each exit, C numbers; the last is the deepest
            exit's alone.
        heads (Sequence[float]): What is saved if the head of an exit is not run, C numbers; zeros
            if it is not known.
        unit (str): The unit.
    """

    cumulative: Sequence[float]
    fixed: Sequence[float]
    heads: Sequence[float]
    unit: str = 'FLOPs'

    @classmethod
    def of_stages(
        cls, sections: Sequence[float], heads: Sequence[float], unit: str = 'FLOPs'
    ) -> 'Costs':
        """From the cost of going on to each exit, and of its head."""
        fixed = np.cumsum(sections) + heads
        return cls(np.cumsum(np.add(sections, heads)), fixed, heads, unit)


class Exits:
    """What a kind of policy sees and answers at every exit.

    Args:
        probabilities (np.ndarray): Of every exit, (M, C, K), calibrated.
        labels (np.ndarray): Right classes, (M,).
        costs (Costs): What stopping costs.
        kind (str): ``'ConfidencePolicy'``, ``'MarginPolicy'`` or ``'EntropyPolicy'``.
        ensemble (bool): Whether it answers with the mean.
    """

    def __init__(
        self, probabilities: np.ndarray, labels: np.ndarray, costs: Costs, kind: str, ensemble: bool
    ) -> None:
        self.kind, self.ensemble, self.costs = kind, ensemble, costs
        policy = build_policy(dict(type=kind, thresholds=0.0, ensemble=ensemble))
        self.sign = 1 if policy.higher_is_more_confident else -1
        exits = torch.from_numpy(probabilities).unbind(1)
        answers = [policy.answer(list(exits[: i + 1])) for i in range(len(exits))]
        self.right = np.stack([a.argmax(1).numpy() == labels for a in answers])
        self.scores = self.sign * np.stack([policy.score(a).numpy() for a in answers[:-1]])

    def part(self, chosen: np.ndarray) -> 'Exits':
        """The same for some of the images."""
        part = copy.copy(self)
        part.right, part.scores = self.right[:, chosen], self.scores[:, chosen]
        return part

    def try_out(self, thresholds: Thresholds) -> Result:
        """Stop at the first exit whose score reaches its threshold.

        Args:
            thresholds (Sequence[float | None]): C - 1 of them, as the policy takes them; None: no
                image stops there.
        """
        here = np.ones(self.right.shape[1], bool)
        stopped, right = [], 0
        for threshold, scores, correct in zip(thresholds, self.scores, self.right):
            stop = here & (scores >= (np.inf if threshold is None else self.sign * threshold))
            stopped.append(np.count_nonzero(stop))
            right += np.count_nonzero(stop & correct)
            here = here & ~stop
        stopped.append(np.count_nonzero(here))
        right += np.count_nonzero(here & self.right[-1])
        shares = np.array(stopped) / len(here)
        unread = [not self.ensemble and t is None for t in thresholds]
        saved = np.cumsum([0.0, *np.multiply(self.costs.heads[:-1], unread)])
        return Result(right / len(here), float(shares @ (self.costs.cumulative - saved)), shares)

    def levels(self, exit_index: int) -> List[Optional[float]]:
        """Thresholds worth trying at an exit, from no image to all."""
        scores = np.quantile(self.scores[exit_index], np.linspace(0, 1, LEVELS + 1))
        return [None] + [float(self.sign * s) for s in np.unique(scores)]


def best_shared(exits: Exits, target: Target) -> List[Optional[float]]:
    """The best single threshold for all exits, C - 1 times."""
    count = len(exits.scores)
    pooled = {t for i in range(count) for t in exits.levels(i)}
    tried = [[t] * count for t in sorted(pooled - {None})] + [[None] * count]
    return max(tried, key=lambda t: target.key(exits.try_out(t)))


def best_joint(exits: Exits, target: Target) -> List[Optional[float]]:
    """The best C - 1 thresholds found, one for each exit; never worse than the shared one.

    Accuracy and cost are traded at several rates, each time exit after exit until nothing improves;
    the best of these, and of the shared ones, is then improved in the same way for the target
    itself.
    """
    start = best_shared(exits, target)
    whole = exits.costs.fixed[-1]
    found = [start]
    for rate in np.geomspace(0.01, 1, 7):  # accuracy worth a whole network
        found.append(
            _improve(exits, start, lambda r, rate=rate: r.accuracy - rate * r.cost / whole)
        )
    best = max(found, key=lambda t: target.key(exits.try_out(t)))
    # Two at once: what one saves, another may spend.
    return _improve(exits, best, target.key, at_once=2)


def _improve(
    exits: Exits, thresholds: Thresholds, value: Callable[[Result], object], at_once: int = 1
) -> List[Optional[float]]:
    """Change one threshold (or two) as long as that is for the better."""
    best = list(thresholds)
    best_value = value(exits.try_out(best))
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
                trial_value = value(exits.try_out(trial))
                if trial_value > best_value:
                    best, best_value, changed = trial, trial_value, True
    return best
