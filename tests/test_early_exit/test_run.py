"""Samples that are done leave; nothing is computed for them any more."""

import pytest
import torch
from tabulated import Tabulated, answers

from mmrazor_byot.early_exit import ConfidencePolicy, FixedExitPolicy, PatiencePolicy
from mmrazor_byot.errors import ConfigError

#: Confidence of exits 1 to 3 in samples 0 to 3. Each has a class of its own.
CONFIDENCE = [[0.5, 0.7, 0.9], [0.95, 0.5, 0.5], [0.6, 0.92, 0.5], [0.4, 0.5, 0.6]]


@pytest.fixture
def table():
    """Probabilities (4, 3, 4); what the class does not have, the others share."""
    own = torch.tensor(CONFIDENCE)[..., None]
    return torch.where(torch.eye(4, dtype=torch.bool)[:, None], own, (1 - own) / 3)


@pytest.fixture
def network(table):
    return Tabulated(table.log())


@pytest.mark.parametrize(
    'policy, exits, ran',
    [
        (ConfidencePolicy(0.9), [3, 1, 2, 3], [(1, 4), (2, 3), (3, 2)]),
        (ConfidencePolicy(0.4), [1] * 4, [(1, 4)]),
        (ConfidencePolicy([1, 0.5]), [2] * 4, [(1, 4), (2, 4)]),
        (ConfidencePolicy(1), [3] * 4, [(1, 4), (2, 4), (3, 4)]),
    ],
)
def test_samples_leave_when_the_policy_says_so(network, table, policy, exits, ran):
    found = answers(network, policy)
    assert found.exits.tolist() == exits and found.exits.dtype == torch.int64
    assert network.ran == network.read == ran
    torch.testing.assert_close(found.scores, table[range(4), found.exits - 1])
    for sample, exit_ in enumerate(exits):
        torch.testing.assert_close(found.exit_scores[sample, :exit_], table[sample, :exit_])
        assert found.exit_scores[sample, exit_:].isnan().all()


def test_results_come_in_the_order_of_the_inputs(network):
    scores, exits, _ = answers(network, ConfidencePolicy(0.9), [3, 1, 0, 2, 1])
    assert exits.tolist() == [3, 1, 3, 2, 1]
    assert scores.argmax(1).tolist() == [3, 1, 0, 2, 1]
    assert network.ran == [(1, 5), (2, 3), (3, 2)]


@pytest.mark.parametrize('sample, exit_', [(0, 3), (1, 1), (2, 2)])
def test_one_sample(network, sample, exit_):
    scores, exits, _ = answers(network, ConfidencePolicy(0.9), [sample])
    assert exits.tolist() == [exit_]
    assert scores.shape == (1, 4)
    assert network.ran == [(i, 1) for i in range(1, exit_ + 1)]


def test_no_samples(network):
    scores, exits, exit_scores = answers(network, ConfidencePolicy(0.9), [])
    assert scores.shape == (0, 4) and exits.shape == (0,)
    assert exit_scores.shape == (0, 3, 4)
    assert network.ran == [(1, 0)]


@pytest.mark.parametrize(
    'policy, exits, ran, read',
    [
        (FixedExitPolicy(2), [2] * 4, [(1, 4), (2, 4)], [(2, 4)]),
        (FixedExitPolicy(), [3] * 4, [(1, 4), (2, 4), (3, 4)], [(3, 4)]),
        (ConfidencePolicy([None, 0.9]), [3, 3, 2, 3], [(1, 4), (2, 4), (3, 3)], [(2, 4), (3, 3)]),
    ],
)
def test_only_what_the_policy_uses_is_run(network, table, policy, exits, ran, read):
    found = answers(network, policy)
    assert found.exits.tolist() == exits
    assert (network.ran, network.read) == (ran, read)
    assert found.exit_scores[:, 0].isnan().all()
    torch.testing.assert_close(found.scores, table[range(4), found.exits - 1])


def test_ensemble_of_all_exits_up_to_one(network, table):
    scores, exits, _ = answers(network, FixedExitPolicy(2, ensemble=True))
    assert exits.tolist() == [2] * 4
    assert network.read == [(1, 4), (2, 4)]
    torch.testing.assert_close(scores, table[:, :2].mean(1))


def test_ensemble_averages_only_what_was_reached(network):
    """Means up to each exit: .5 .6 .7; .95; .6 .76 .673; .4 .45 .5."""
    scores, exits, _ = answers(network, ConfidencePolicy(0.75, ensemble=True))
    assert exits.tolist() == [3, 1, 2, 3]
    assert scores.diag().tolist() == pytest.approx([0.7, 0.95, 0.76, 0.5], rel=1e-5)


def test_temperatures_belong_to_exits():
    """Odds of 16 to 1: at temperature 2 it is 4 to 1, at 4 2 to 1."""
    network = Tabulated(torch.tensor([[[16.0, 1]] * 3]).log())
    policy = ConfidencePolicy(0.7, temperatures=[4, 2, 1])
    scores, exits, exit_scores = answers(network, policy, [0])
    assert exits.tolist() == [2]
    assert scores.tolist() == [pytest.approx([0.8, 0.2])]
    assert exit_scores[0, 0].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_patience_remembers_only_its_own_samples():
    """Sample 0 leaves at exit 2, and sample 2's history moves up."""
    labels = torch.tensor([[0, 0, 0, 0], [1, 0, 1, 0], [2, 1, 1, 0], [0, 1, 2, 2]])
    network = Tabulated(9 * torch.eye(3)[labels])
    scores, exits, _ = answers(network, PatiencePolicy(2))
    assert exits.tolist() == [2, 4, 3, 4]
    assert scores.argmax(1).tolist() == [0, 0, 1, 2]
    assert network.ran == [(1, 4), (2, 4), (3, 3), (4, 2)]


def test_policy_is_checked_before_anything_is_run(network):
    with pytest.raises(ConfigError, match='3 thresholds for a network of 3'):
        answers(network, ConfidencePolicy([0.5] * 3))
    assert network.ran == []
