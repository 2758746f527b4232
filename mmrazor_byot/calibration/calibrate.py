"""From the logits of held-out images to an exit policy."""

import itertools
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from mmrazor_byot.early_exit import ExitPolicy, build_policy
from mmrazor_byot.errors import ConfigError

from .temperature import (
    calibrated,
    expected_calibration_error,
    fit_temperature,
)
from .threshold_search import (
    Costs,
    Exits,
    Result,
    Target,
    best_joint,
    best_shared,
)

SEARCHES = dict(shared=best_shared, joint=best_joint)
FOLDS = 5
#: To weigh a miss against cost: a point of accuracy for a tenth of the net.
SHARE_PER_POINT = 0.1


class Goal(NamedTuple):
    """What the user asks for; one of the three.

    Attributes:
        max_drop (float | None): Percentage points of accuracy that may be lost against the deepest
            exit.
        budget (float | None): Share of the deepest exit's cost, 0 to 1.
        cost (float | None): Mean cost of an image, in the unit of the costs.
    """

    max_drop: Optional[float] = None
    budget: Optional[float] = None
    cost: Optional[float] = None

    def target(self, costs: Costs, deepest: np.ndarray) -> Target:
        """What that means for these images.

        Args:
            costs (Costs): What they cost.
            deepest (np.ndarray): Whether the deepest exit alone is right about each, (M,).
        """
        if self.max_drop is not None:
            return Target(accuracy=deepest.mean() - self.max_drop / 100)
        if self.budget is not None:
            return Target(cost=self.budget * costs.fixed[-1])
        return Target(cost=self.cost)


class Candidate(NamedTuple):
    """A kind of policy, and what it came to.

    Attributes:
        policy (dict): What builds it, but for the temperatures.
        search (str): How it was found: ``'shared'``, ``'joint'``, or ``'fixed'`` for one exit for
            all images.
        seen (Result): On the images that they were found on.
        unseen (Result): The same search on four fifths of the images, tried on the last fifth; mean
            of five.
        drop (float): Points lost against the deepest exit, on unseen images.
        value (float): The larger the better; see :func:`_value`.
    """

    policy: dict
    search: str
    seen: Result
    unseen: Result
    drop: float
    value: float


class Calibration(NamedTuple):
    """What :func:`calibrate` finds.

    Attributes:
        policy (ExitPolicy): The best candidate as a policy.
        chosen (Candidate): That candidate.
        candidates (list[Candidate]): All that were compared.
        temperatures (list[float]): Of the exits.
        ece (list[tuple]): Of each exit, before and after scaling.
        exit_accuracy (list[float]): Of each exit alone, 0 to 1.
    """

    policy: ExitPolicy
    chosen: Candidate
    candidates: List[Candidate]
    temperatures: List[float]
    ece: List[Tuple[float, float]]
    exit_accuracy: List[float]


def calibrate(
    logits: np.ndarray,
    labels: np.ndarray,
    costs: Costs,
    goal: Goal,
    kinds: Sequence[str] = ('ConfidencePolicy',),
    ensembles: Sequence[bool] = (False, True),
) -> Calibration:
    """Find temperatures and thresholds for a goal.

    Every kind of policy, with one shared threshold and with one for each exit, is judged on images
    that its thresholds were not found on; where the joint search does not gain by that, the shared
    threshold is kept, and where neither gains, one exit for all images. None is taken that misses
    the goal on the images that it was found on, unless all do.

    Args:
        logits (np.ndarray): Of held-out images, (M, C, K).
        labels (np.ndarray): Their classes, (M,).
        costs (Costs): What leaving at each exit costs.
        goal (Goal): What is asked for.
        kinds (Sequence[str]): Types of policies to compare.
        ensembles (Sequence[bool]): Answers to compare: the last exit's (False), the mean of those
            reached (True).

    Returns:
        Calibration: The best policy, and what it was compared with.

    Raises:
        ConfigError: Too few images, or a goal that nothing can reach.
    """
    if len(labels) < 10 * FOLDS:
        raise ConfigError(
            f'{len(labels)} images are too few to calibrate on; give at least {10 * FOLDS}'
        )
    count = logits.shape[1]
    temperatures = [fit_temperature(logits[:, i], labels) for i in range(count)]
    probabilities = calibrated(logits, temperatures)
    uncalibrated = calibrated(logits, [1.0] * count)
    right = probabilities.argmax(-1) == labels[:, None]
    least, whole = float(min(costs.fixed)), float(costs.fixed[-1])
    if goal.max_drop is None:
        limit = goal.cost or goal.budget * whole
        if limit < least:
            raise ConfigError(
                f'no policy can cost {limit:.4g}: exit 1 alone costs {least:.4g}, '
                f'{least / whole:.2f} of the deepest'
            )
    candidates = [_fixed(right, i, costs, goal) for i in range(count)]
    for kind, ensemble in itertools.product(kinds, ensembles):
        exits = Exits(probabilities, labels, costs, kind, ensemble)
        candidates += [_candidate(exits, right[:, -1], goal, search) for search in SEARCHES]
    target = goal.target(costs, right[:, -1])
    reach = [c for c in candidates if target.met_by(c.seen)]
    # The simpler, if equal.
    chosen = max(reach or candidates, key=lambda c: c.value)
    return Calibration(
        build_policy(dict(**chosen.policy, temperatures=temperatures)),
        chosen,
        candidates,
        temperatures,
        [
            (
                expected_calibration_error(uncalibrated[:, i], labels),
                expected_calibration_error(probabilities[:, i], labels),
            )
            for i in range(count)
        ],
        right.mean(axis=0).tolist(),
    )


def _fixed(right: np.ndarray, index: int, costs: Costs, goal: Goal) -> Candidate:
    """One exit for all images: nothing to find, so nothing is unseen."""
    count = right.shape[1]
    result = Result(float(right[:, index].mean()), float(costs.fixed[index]), np.eye(count)[index])
    deepest = right[:, -1]
    drop = 100 * (deepest.mean() - result.accuracy)
    policy = dict(type='FixedExitPolicy', exit_number=index + 1)
    return Candidate(
        policy, 'fixed', result, result, float(drop), _value(goal, costs, deepest, result)
    )


def _candidate(exits: Exits, deepest: np.ndarray, goal: Goal, search: str) -> Candidate:
    find = SEARCHES[search]
    thresholds = find(exits, goal.target(exits.costs, deepest))
    fold = np.arange(len(deepest)) % FOLDS
    results = []
    for number in range(FOLDS):
        fit, new = exits.part(fold != number), exits.part(fold == number)
        target = goal.target(exits.costs, deepest[fold != number])
        results.append(new.try_out(find(fit, target)))
    weights = np.bincount(fold) / len(fold)
    unseen = Result(*(weights @ np.array([r[i] for r in results]) for i in range(3)))
    drop = 100 * (deepest.mean() - unseen.accuracy)
    value = _value(goal, exits.costs, deepest, unseen)
    policy = dict(type=exits.kind, thresholds=thresholds, ensemble=exits.ensemble)
    return Candidate(policy, search, exits.try_out(thresholds), unseen, float(drop), value)


def _value(goal: Goal, costs: Costs, deepest: np.ndarray, result: Result) -> float:
    """What a policy is worth, as a share of the network's cost.

    What it misses the goal by is charged, at the rate of a tenth of the network for a point of
    accuracy.
    """
    target = goal.target(costs, deepest)
    share = result.cost / costs.fixed[-1]
    if target.accuracy is not None:
        missing = 100 * max(0.0, target.accuracy - result.accuracy)
        return float(-share - SHARE_PER_POINT * missing)
    above = max(0.0, share - target.cost / costs.fixed[-1])
    return float(SHARE_PER_POINT * 100 * result.accuracy - above)
