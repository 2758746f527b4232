"""Samples that are done leave; nothing is computed for them any more."""

from itertools import product

import numpy as np
import pytest
import torch
from tabulated import Tabulated, answers

from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    FixedExitPolicy,
    PatiencePolicy,
)
from mmrazor_byot.errors import ConfigError

#: How sure exits 1 to 3 are of samples 0 to 3. Each has a class of its own.
SURE = [[0.5, 0.7, 0.9], [0.95, 0.5, 0.5], [0.6, 0.92, 0.5], [0.4, 0.5, 0.6]]


def confident():
    """Probabilities (4, 3, 4); what the class leaves, the others share."""
    table = np.empty((4, 3, 4), np.float32)
    for sample, exit_ in product(range(4), range(3)):
        table[sample, exit_] = (1 - SURE[sample][exit_]) / 3
        table[sample, exit_, sample] = SURE[sample][exit_]
    return table


@pytest.fixture
def network(array):
    return Tabulated(array(np.log(confident()).tolist()))


def test_samples_leave_when_they_are_sure(network, array):
    scores, exits, exit_scores = answers(network, ConfidencePolicy(0.9), array)
    assert exits.tolist() == [3, 1, 2, 3]
    assert network.ran == network.read == [(1, 4), (2, 3), (3, 2)]
    expected = confident()
    for sample, exit_ in enumerate(exits):
        assert scores[sample].tolist() == pytest.approx(
            expected[sample, exit_ - 1].tolist(), rel=1e-5
        )
        for i in range(3):
            if i < exit_:
                assert exit_scores[sample, i].tolist() == pytest.approx(
                    expected[sample, i].tolist(), rel=1e-5
                )
            else:
                assert np.isnan(exit_scores[sample, i].tolist()).all()
    assert exits.dtype == torch.int64
    for found in (scores, exit_scores):
        assert found.dtype == network.logits.dtype


def test_results_come_in_the_order_of_the_inputs(network, array):
    scores, exits, _ = answers(network, ConfidencePolicy(0.9), array, [3, 1, 0, 2, 1])
    assert exits.tolist() == [3, 1, 3, 2, 1]
    assert np.asarray(scores).argmax(1).tolist() == [3, 1, 0, 2, 1]
    assert network.ran == [(1, 5), (2, 3), (3, 2)]


def test_all_leave_at_the_first_exit(network, array):
    scores, exits, exit_scores = answers(network, ConfidencePolicy(0.4), array)
    assert exits.tolist() == [1] * 4
    assert network.ran == [(1, 4)]
    assert np.isnan(np.asarray(exit_scores)[:, 1:]).all()
    assert not np.isnan(np.asarray(exit_scores)[:, 0]).any()


def test_all_leave_at_the_second_exit(network, array):
    _, exits, _ = answers(network, ConfidencePolicy([1, 0.5]), array)
    assert exits.tolist() == [2] * 4
    assert network.ran == [(1, 4), (2, 4)]


def test_nobody_leaves_early(network, array):
    scores, exits, exit_scores = answers(network, ConfidencePolicy(1), array)
    assert exits.tolist() == [3] * 4
    assert network.ran == [(1, 4), (2, 4), (3, 4)]
    assert np.asarray(exit_scores) == pytest.approx(confident(), rel=1e-5)
    assert np.asarray(scores) == pytest.approx(confident()[:, 2], rel=1e-5)


@pytest.mark.parametrize('sample, exit_', [(0, 3), (1, 1), (2, 2)])
def test_one_sample(network, array, sample, exit_):
    scores, exits, _ = answers(network, ConfidencePolicy(0.9), array, [sample])
    assert exits.tolist() == [exit_]
    assert scores.shape == (1, 4)
    assert network.ran == [(i, 1) for i in range(1, exit_ + 1)]


def test_no_samples(network, array):
    scores, exits, exit_scores = answers(network, ConfidencePolicy(0.9), array, [])
    assert scores.shape == (0, 4) and exits.shape == (0,)
    assert exit_scores.shape == (0, 3, 4)
    assert network.ran == [(1, 0)]


def test_stages_behind_the_last_exit_are_not_run(network, array):
    scores, exits, _ = answers(network, FixedExitPolicy(2), array)
    assert exits.tolist() == [2] * 4
    assert network.ran == [(1, 4), (2, 4)]
    assert network.read == [(2, 4)]
    assert np.asarray(scores) == pytest.approx(confident()[:, 1], rel=1e-5)


def test_the_deepest_exit_needs_no_other_head(network, array):
    _, exits, exit_scores = answers(network, FixedExitPolicy(), array)
    assert exits.tolist() == [3] * 4
    assert network.ran == [(1, 4), (2, 4), (3, 4)]
    assert network.read == [(3, 4)]
    assert np.isnan(np.asarray(exit_scores)[:, :2]).all()


def test_exit_without_threshold_is_not_read(network, array):
    _, exits, exit_scores = answers(network, ConfidencePolicy([None, 0.9]), array)
    assert exits.tolist() == [3, 3, 2, 3]
    assert network.ran == [(1, 4), (2, 4), (3, 3)]
    assert network.read == [(2, 4), (3, 3)]
    assert np.isnan(np.asarray(exit_scores)[:, 0]).all()


def test_ensemble_of_all_exits_up_to_one(network, array):
    scores, exits, _ = answers(network, FixedExitPolicy(2, ensemble=True), array)
    assert exits.tolist() == [2] * 4
    assert network.read == [(1, 4), (2, 4)]
    assert np.asarray(scores) == pytest.approx(confident()[:, :2].mean(1), rel=1e-5)


def test_ensemble_averages_only_what_was_reached(network, array):
    """Means up to each exit: .5 .6 .7; .95; .6 .76 .673; .4 .45 .5."""
    scores, exits, _ = answers(network, ConfidencePolicy(0.75, ensemble=True), array)
    assert exits.tolist() == [3, 1, 2, 3]
    sure = [scores[i, i].item() for i in range(4)]
    assert sure == pytest.approx([0.7, 0.95, 0.76, 0.5], rel=1e-5)


def test_temperatures_belong_to_exits(array):
    """Odds of 16 to 1: at temperature 2 it is 4 to 1, at 4 2 to 1."""
    network = Tabulated(array([[[np.log(16), 0]] * 3]))
    policy = ConfidencePolicy(0.7, temperatures=[4, 2, 1])
    scores, exits, exit_scores = answers(network, policy, array, [0])
    assert exits.tolist() == [2]
    assert scores.tolist() == [pytest.approx([0.8, 0.2])]
    assert exit_scores[0, 0].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_patience_remembers_only_its_own_samples(array):
    """Sample 0 leaves at exit 2, and sample 2's history moves up."""
    labels = np.array([[0, 0, 0, 0], [1, 0, 1, 0], [2, 1, 1, 0], [0, 1, 2, 2]])
    logits = np.eye(3, dtype=np.float32)[labels] * 9
    network = Tabulated(array(logits.tolist()))
    scores, exits, _ = answers(network, PatiencePolicy(2), array)
    assert exits.tolist() == [2, 4, 3, 4]
    assert np.asarray(scores).argmax(1).tolist() == [0, 0, 1, 2]
    assert network.ran == [(1, 4), (2, 4), (3, 3), (4, 2)]


def test_policy_is_checked_before_anything_is_run(network, array):
    with pytest.raises(ConfigError, match='3 thresholds for a network of 3'):
        answers(network, ConfidencePolicy([0.5] * 3), array)
    assert network.ran == []
