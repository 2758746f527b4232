"""Find an exit policy on the logits of held-out images."""

import itertools
from typing import List, NamedTuple, Optional, Sequence

import numpy as np
import torch

from mmrazor_byot.early_exit import ExitPolicy, build_policy
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation.collect import check_classes
from mmrazor_byot.evaluation.finite import check_logits

from .temperature import calibrated, expected_calibration_error, fit_temperature
from .threshold_search import (
    AccuracyTarget,
    Costs,
    CostTarget,
    Exits,
    Result,
    Target,
    best_joint,
    best_shared,
)

SEARCHES = dict(shared=best_shared, joint=best_joint)
FOLDS = 5


class Goal(NamedTuple):
    """What the policy is optimized for; one of the three."""

    max_drop: Optional[float] = None  # percentage points of accuracy lost against the deepest exit
    budget: Optional[float] = None  # fraction of the deepest exit's cost, 0 to 1
    cost: Optional[float] = None  # mean cost of an image, in the unit of the costs

    def target(self, costs: Costs, deepest: np.ndarray) -> Target:
        """The target on images that the deepest exit classifies correctly or not, (M,) bool."""
        for name, value in self._asdict().items():
            if value is not None and not 0 <= value < float('inf'):
                raise ConfigError(f'Goal: {name}={value}; it must be a positive number')
        if self.max_drop is not None:
            return AccuracyTarget(deepest.mean() - self.max_drop / 100)
        if self.budget is not None:
            return CostTarget(self.budget * costs.fixed[-1])
        if self.cost is not None:
            return CostTarget(self.cost)
        raise ConfigError('Goal: give max_drop, budget or cost')


class Candidate(NamedTuple):
    """A policy and its results."""

    policy: dict  # its config without temperatures
    search: str  # 'shared', 'joint', or 'fixed' for one exit for all images
    seen: Result  # on the images that its thresholds were found on
    unseen: Result  # mean of a five-fold cross-validation of the same search


class Calibration(NamedTuple):
    """What :func:`calibrate` finds; the last four are of each exit."""

    policy: ExitPolicy  # the best candidate, with temperatures
    chosen: Candidate  # the best candidate
    candidates: List[Candidate]  # all that were compared
    temperatures: List[float]
    ece_before: List[float]  # expected calibration error at temperature 1
    ece_after: List[float]  # the same at the exit's temperature
    exit_accuracy: List[float]  # of the exit alone, 0 to 1


def calibrate(
    logits: np.ndarray,
    labels: np.ndarray,
    costs: Costs,
    goal: Goal,
    kinds: Sequence[str] = ('ConfidencePolicy',),
    ensembles: Sequence[bool] = (False, True),
) -> Calibration:
    """Find temperatures and thresholds for a goal.

    Every kind of policy, with one threshold shared by all exits and with one for each, and every
    exit alone are compared by cross-validation. Those that miss the goal on the images that they
    were found on are left out, unless all do. Of equally good ones the simplest is chosen.

    Args:
        logits, labels (np.ndarray): Of held-out images, (M, C, K) and (M,).
        costs (Costs): Costs of stopping at each exit.
        goal (Goal): What to optimize for.
        kinds (Sequence[str]): Types of policies to compare.
        ensembles (Sequence[bool]): Values of ``ensemble`` to compare, see :class:`ExitPolicy`.

    Raises:
        ConfigError: There are too few images, a cost is not a positive number, or no policy can be
            so cheap.
        DatasetError: A label is not a class.
        NonFiniteOutputError: Logits are NaN or infinite.
    """
    if len(labels) < 10 * FOLDS:
        raise ConfigError(f'{len(labels)} images are too few to calibrate on; give {10 * FOLDS}')
    count = logits.shape[1]
    check_classes(labels, logits.shape[2])
    check_logits(torch.from_numpy(logits))
    costs.check(count)
    temperatures = [fit_temperature(logits[:, i], labels) for i in range(count)]
    probabilities = calibrated(logits, temperatures)
    correct = probabilities.argmax(-1) == labels[:, None]
    target = goal.target(costs, correct[:, -1])
    lowest, deepest_cost = float(min(costs.fixed)), float(costs.fixed[-1])
    if isinstance(target, CostTarget) and target.cost < lowest:
        raise ConfigError(
            f'no policy can cost {target.cost:.4g}: exit 1 alone costs {lowest:.4g}, '
            f'{lowest / deepest_cost:.2f} of the deepest'
        )
    candidates = [_fixed(correct, i, costs) for i in range(count)]
    for kind, ensemble in itertools.product(kinds, ensembles):
        exits = Exits(probabilities, labels, costs, kind, ensemble)
        candidates += [_searched(exits, correct[:, -1], goal, search) for search in SEARCHES]
    reach = [c for c in candidates if target.key(c.seen)[0] == 0]
    # max() takes the first of equal ones, which is the simplest.
    chosen = max(reach or candidates, key=lambda c: target.value(c.unseen, deepest_cost))
    before, after = (
        [expected_calibration_error(p, labels) for p in exits.swapaxes(0, 1)]
        for exits in (calibrated(logits, [1.0] * count), probabilities)
    )
    return Calibration(
        policy=build_policy(dict(**chosen.policy, temperatures=temperatures)),
        chosen=chosen,
        candidates=candidates,
        temperatures=temperatures,
        ece_before=before,
        ece_after=after,
        exit_accuracy=correct.mean(axis=0).tolist(),
    )


def _fixed(correct: np.ndarray, index: int, costs: Costs) -> Candidate:
    """One exit for all images; there is nothing to cross-validate."""
    fractions = np.eye(correct.shape[1])[index]
    result = Result(float(correct[:, index].mean()), float(costs.fixed[index]), fractions)
    policy = dict(type='FixedExitPolicy', exit_number=index + 1)
    return Candidate(policy, 'fixed', result, result)


def _searched(exits: Exits, deepest: np.ndarray, goal: Goal, search: str) -> Candidate:
    find = SEARCHES[search]
    thresholds = find(exits, goal.target(exits.costs, deepest))
    fold = np.arange(len(deepest)) % FOLDS
    results = []
    for number in range(FOLDS):
        train, val = exits.subset(fold != number), exits.subset(fold == number)
        target = goal.target(exits.costs, deepest[fold != number])
        results.append(val.evaluate(find(train, target)))
    weights = np.bincount(fold) / len(fold)
    unseen = Result(*(weights @ np.array(values) for values in zip(*results)))
    policy = dict(type=exits.kind, thresholds=thresholds, ensemble=exits.ensemble)
    return Candidate(policy, search, exits.evaluate(thresholds), unseen)
