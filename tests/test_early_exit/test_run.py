"""Samples that are done leave; nothing is computed for them any more."""

from itertools import product

import numpy as np
import pytest
import torch

from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    EntropyPolicy,
    FixedExitPolicy,
    MarginPolicy,
    PatiencePolicy,
    run_policy,
)
from mmrazor_byot.errors import ConfigError

#: Confidence of exits 1 to 3 in samples 0 to 3. Each has a class of its own.
CONFIDENCE = [[0.5, 0.7, 0.9], [0.95, 0.5, 0.5], [0.6, 0.92, 0.5], [0.4, 0.5, 0.6]]


class Tabulated:
    """Knows the logits of every sample at every exit, and counts.

    Its inputs are numbers of samples. The state holds them twice: as they came, and with the number
    of stages added, so that none is left out.
    """

    def __init__(self, logits):
        self.logits = logits
        _, self.num_exits, self.num_classes = logits.shape
        self.ran, self.read = [], []  # (stage, samples)

    def stage(self, number, state, read):
        numbers, counted = state if number > 1 else (state[0], state[0])
        assert (counted - numbers == number - 1).all()
        self.ran.append((number, len(numbers)))
        if read:
            self.read.append((number, len(numbers)))
        after = (numbers, counted + 1) if number < self.num_exits else ()
        return after, self.logits[numbers, number - 1] if read else None


def answers(network, policy, inputs=(0, 1, 2, 3)):
    """Run a policy on the samples of these numbers."""
    return run_policy(network, torch.tensor(inputs, dtype=torch.int64), policy)


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


POLICIES = [
    policy(setting, temperatures=temperatures, ensemble=ensemble)
    for (policy, setting), temperatures, ensemble in product(
        [
            (ConfidencePolicy, 0.5),
            (ConfidencePolicy, [0.4, None, 0.6]),
            (MarginPolicy, 0.3),
            (EntropyPolicy, 0.7),
            (PatiencePolicy, 2),
            (PatiencePolicy, 3),
            (FixedExitPolicy, 3),
            (FixedExitPolicy, -1),
        ],
        [None, [0.5, 1.5, 0.8, 1.2]],
        [False, True],
    )
]


@pytest.mark.parametrize('policy', POLICIES, ids=lambda p: '-'.join(map(str, p.config().values())))
@pytest.mark.parametrize('seed', [0, 1])
def test_together_as_alone(policy, seed):
    """What goes on with others is answered as if it had come alone."""
    random = np.random.default_rng(seed)
    table = torch.tensor(random.normal(0, 1.5, (40, 4, 5)), dtype=torch.float32)
    network = Tabulated(table)
    together = answers(network, policy, range(40))
    slow = [judged_alone(np.asarray(rows), policy) for rows in table]
    assert together.exits.tolist() == [exit_ for exit_, _ in slow]
    np.testing.assert_allclose(together.scores, [scores for _, scores in slow], rtol=1e-5)
    alone = [answers(network, policy, [i]) for i in range(40)]
    for field in range(3):
        one_by_one = torch.cat([one[field] for one in alone])
        torch.testing.assert_close(together[field], one_by_one, rtol=1e-6, atol=0, equal_nan=True)
    if not isinstance(policy, FixedExitPolicy):
        assert len(set(together.exits.tolist())) > 1  # or this would prove nothing


def judged_alone(logits, policy):
    """The whole network's logits (C, K) of a sample, exit by exit."""
    probabilities = []
    for i, z in enumerate(logits.astype(np.float64)):
        z = z / (policy.temperatures or [1] * 4)[i]
        probabilities.append(np.exp(z) / np.exp(z).sum())
    for number in range(1, 5):
        seen = probabilities[:number]
        answer = np.mean(seen, 0) if policy.ensemble else seen[-1]
        labels = [p.argmax() for p in seen]
        if number == 4 or stops(policy, number, np.sort(answer), labels):
            break
    return number, answer


def stops(policy, number, answer, labels):
    """Whether a rising answer, and labels, are good enough."""
    if isinstance(policy, FixedExitPolicy):
        return number == policy.exit_number
    if isinstance(policy, PatiencePolicy):
        same = labels[-policy.patience :]
        return len(same) == policy.patience and len(set(same)) == 1
    threshold = policy.threshold(number)
    if threshold is None:
        return False
    if isinstance(policy, MarginPolicy):
        return answer[-1] - answer[-2] >= threshold
    if isinstance(policy, EntropyPolicy):
        return -(answer * np.log(answer)).sum() / np.log(5) <= threshold
    return answer[-1] >= threshold
