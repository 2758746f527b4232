"""The fast path is the slow path, for every kind of policy."""

from itertools import product

import numpy as np
import pytest
import torch
from tabulated import Tabulated, answers

from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    EntropyPolicy,
    FixedExitPolicy,
    MarginPolicy,
    PatiencePolicy,
)

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
    threshold = policy.thresholds
    if isinstance(threshold, list):
        threshold = threshold[number - 1]
    if threshold is None:
        return False
    if isinstance(policy, MarginPolicy):
        return answer[-1] - answer[-2] >= threshold
    if isinstance(policy, EntropyPolicy):
        return -(answer * np.log(answer)).sum() / np.log(5) <= threshold
    return answer[-1] >= threshold
