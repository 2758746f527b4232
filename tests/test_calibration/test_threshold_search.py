import itertools

import numpy as np
import pytest
import torch

from mmrazor_byot.calibration.threshold_search import (
    AccuracyTarget,
    Costs,
    CostTarget,
    Exits,
    best_joint,
    best_shared,
)
from mmrazor_byot.early_exit import RecordedNetwork, build_policy, softmax
from mmrazor_byot.early_exit.measure import policy_flops

KINDS = ['ConfidencePolicy', 'MarginPolicy', 'EntropyPolicy']
SECTIONS, HEADS = [4.0, 3.0, 2.0], [1.0, 0.5, 0.0]
COSTS = Costs.of_stages(SECTIONS, HEADS)


def some_logits(count=300, classes=5):
    """Exits that are more confident and more often right the deeper they are."""
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=count)
    logits = rng.normal(size=(count, 3, classes))
    logits[np.arange(count), :, labels] += [1.0, 1.7, 2.5]
    return logits, labels


def exits_of(kind='ConfidencePolicy', ensemble=False):
    logits, labels = some_logits()
    return Exits(softmax(torch.from_numpy(logits)).numpy(), labels, COSTS, kind, ensemble)


def by_hand():
    """Four images, two exits: right at exit 1 are 0 and 1, at exit 2 all but 1."""
    right = np.array([[0.9, 0.9], [0.8, 0.3], [0.4, 0.8], [0.3, 0.6]])
    costs = Costs.of_stages([3.0, 7.0], [1.0, 0.0])
    probabilities = np.stack([right, 1 - right], axis=-1)
    return Exits(probabilities, np.zeros(4, int), costs, 'ConfidencePolicy', False)


@pytest.mark.parametrize(
    'threshold, accuracy, cost, shares',
    [
        (0.85, 3 / 4, (4 + 3 * 11) / 4, [1 / 4, 3 / 4]),
        (0.8, 1.0, (2 * 4 + 2 * 11) / 4, [1 / 2, 1 / 2]),
        (0.0, 1 / 2, 4.0, [1.0, 0.0]),
        (None, 3 / 4, 10.0, [0.0, 1.0]),
    ],
)
def test_evaluate_by_hand(threshold, accuracy, cost, shares):
    result = by_hand().evaluate([threshold])
    assert (result.accuracy, result.cost) == (accuracy, cost)
    assert result.fractions.tolist() == shares


def test_best_by_hand():
    assert by_hand().evaluate(best_joint(by_hand(), AccuracyTarget(0.9))).accuracy == 1
    # What cannot be reached is come as close to as can be.
    assert by_hand().evaluate(best_joint(by_hand(), CostTarget(4))).cost == 4


@pytest.mark.parametrize('ensemble', [False, True])
@pytest.mark.parametrize('kind', KINDS)
def test_equal_to_running_the_policy(kind, ensemble):
    logits, labels = some_logits()
    exits = exits_of(kind, ensemble)
    levels = [exits.levels(0)[::9], exits.levels(1)[::9]]
    for thresholds in itertools.product(*levels):
        policy = build_policy(dict(type=kind, thresholds=thresholds, ensemble=ensemble))
        outcome = RecordedNetwork(torch.from_numpy(logits)).run(policy)
        costs = policy_flops(dict(sections=SECTIONS, heads=HEADS), outcome)
        tried = exits.evaluate(thresholds)
        assert tried.accuracy == (outcome.scores.argmax(1).numpy() == labels).mean()
        assert tried.cost == pytest.approx(costs.mean())
        assert tried.fractions.tolist() == [(outcome.exits.numpy() == n).mean() for n in (1, 2, 3)]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('target', [AccuracyTarget(0.8), CostTarget(6.0), CostTarget(7.5)])
def test_joint_is_as_good_as_trying_all(kind, target):
    exits = exits_of(kind)
    best = max(
        target.key(exits.evaluate(t)) for t in itertools.product(exits.levels(0), exits.levels(1))
    )
    found = target.key(exits.evaluate(best_joint(exits, target)))
    shared = target.key(exits.evaluate(best_shared(exits, target)))
    assert found >= shared
    assert found[0] == 0  # it keeps to the target, and comes near the best
    assert found[1] == pytest.approx(best[1], rel=0.02)


def test_joint_wins_where_one_exit_is_sure_and_wrong():
    probabilities = np.zeros((100, 3, 2))
    probabilities[:, 0] = [0.05, 0.95]  # always confident, always wrong
    probabilities[:, 1] = [0.7, 0.3]
    probabilities[:, 2] = [0.9, 0.1]
    exits = Exits(probabilities, np.zeros(100, int), COSTS, 'ConfidencePolicy', False)
    target = AccuracyTarget(1.0)
    assert best_shared(exits, target) == [None, None]
    joint = best_joint(exits, target)
    assert joint[0] is None and joint[1] == pytest.approx(0.7)
    assert exits.evaluate(joint).cost == 7.5  # two sections, one head
