"""From the logits of held-out images to an exit policy."""

import itertools
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from mmrazor_byot.early_exit import ExitPolicy, build_policy
from mmrazor_byot.errors import ConfigError

from .temperature import calibrated, expected_calibration_error, fit_temperature
from .threshold_search import Costs, Exits, Result, Target, best_joint, best_shared

SEARCHES = dict(shared=best_shared, joint=best_joint)
FOLDS = 5


class Goal(NamedTuple):
    """What the user asks for; one of the three.

    Attributes:
        max_drop (float | None): Percentage points of accuracy that may be lost against the deepest
            exit.
        budget (float | None): Fraction of the deepest exit's cost, 0 to 1.
        cost (float | None): Mean cost of an image, in the unit of the costs.
    """

    max_drop: Optional[float] = None
    budget: Optional[float] = None
    cost: Optional[float] = None

    def target(self, costs: Costs, deepest: np.ndarray) -> Target:
        """What that means for images about which the deepest exit is right or wrong, (M,) bool."""
        if self.max_drop is not None:
            return Target(accuracy=deepest.mean() - self.max_drop / 100)
        if self.budget is not None:
            return Target(cost=self.budget * costs.fixed[-1])
        return Target(cost=self.cost)


class Candidate(NamedTuple):
    """A kind of policy, and what it achieves.

    Attributes:
        policy (dict): What builds it, but for the temperatures.
        search (str): How it was found: ``'shared'``, ``'joint'``, or ``'fixed'`` for one exit for
            all images.
        seen (Result): On the images that its thresholds were found on.
        unseen (Result): The same search on four fifths of the images, tried on the last fifth; mean
            of five.
    """

    policy: dict
    search: str
    seen: Result
    unseen: Result


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
    that its thresholds were not found on; if the joint search does not gain by that, the shared
    threshold is kept, and if neither gains, one exit for all images. None is taken that misses the
    goal on the images that it was found on, unless all do.

    Args:
        logits (np.ndarray): Of held-out images, (M, C, K).
        labels (np.ndarray): Their classes, (M,).
        costs (Costs): What stopping at each exit costs.
        goal (Goal): What is asked for.
        kinds (Sequence[str]): Types of policies to compare.
        ensembles (Sequence[bool]): Answers to compare: the last exit's (False), the mean of those
            reached (True).

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
    target = goal.target(costs, right[:, -1])
    least, whole = float(min(costs.fixed)), float(costs.fixed[-1])
    if target.cost is not None and target.cost < least:
        raise ConfigError(
            f'no policy can cost {target.cost:.4g}: exit 1 alone costs {least:.4g}, '
            f'{least / whole:.2f} of the deepest'
        )
    candidates = [_fixed(right, i, costs) for i in range(count)]
    for kind, ensemble in itertools.product(kinds, ensembles):
        exits = Exits(probabilities, labels, costs, kind, ensemble)
        candidates += [_searched(exits, right[:, -1], goal, search) for search in SEARCHES]
    reach = [c for c in candidates if target.key(c.seen)[0] == 0]
    # Of equal ones the first, which is the simplest.
    chosen = max(reach or candidates, key=lambda c: target.value(c.unseen, whole))
    return Calibration(
        build_policy(dict(**chosen.policy, temperatures=temperatures)),
        chosen,
        candidates,
        temperatures,
        [
            tuple(
                expected_calibration_error(p[:, i], labels) for p in (uncalibrated, probabilities)
            )
            for i in range(count)
        ],
        right.mean(axis=0).tolist(),
    )


def _fixed(right: np.ndarray, index: int, costs: Costs) -> Candidate:
    """One exit for all images: nothing to find, so nothing is unseen."""
    shares = np.eye(right.shape[1])[index]
    result = Result(float(right[:, index].mean()), float(costs.fixed[index]), shares)
    policy = dict(type='FixedExitPolicy', exit_number=index + 1)
    return Candidate(policy, 'fixed', result, result)


def _searched(exits: Exits, deepest: np.ndarray, goal: Goal, search: str) -> Candidate:
    find = SEARCHES[search]
    thresholds = find(exits, goal.target(exits.costs, deepest))
    fold = np.arange(len(deepest)) % FOLDS
    results = []
    for number in range(FOLDS):
        fit, new = exits.part(fold != number), exits.part(fold == number)
        target = goal.target(exits.costs, deepest[fold != number])
        results.append(new.try_out(find(fit, target)))
    weights = np.bincount(fold) / len(fold)
    unseen = Result(*(weights @ np.array(values) for values in zip(*results)))
    policy = dict(type=exits.kind, thresholds=thresholds, ensemble=exits.ensemble)
    return Candidate(policy, search, exits.try_out(thresholds), unseen)
