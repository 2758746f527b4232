"""What each policy decides, on probabilities made by hand."""

import json

import numpy as np
import pytest
import torch
from torch import tensor

from mmrazor_byot.early_exit import (
    POLICY_TYPES,
    ConfidencePolicy,
    EntropyPolicy,
    ExitPolicy,
    FixedExitPolicy,
    MarginPolicy,
    PatiencePolicy,
    build_policy,
)
from mmrazor_byot.errors import ConfigError

#: Two exits' answers for three samples. Exactly representable numbers.
FIRST = tensor([[0.5, 0.25, 0.25], [0.75, 0.25, 0], [0.25, 0.25, 0.5]])
SECOND = tensor([[0.5, 0.5, 0], [1, 0, 0], [0.75, 0.25, 0]])
#: Their mean: [.5, .375, .125], [.875, .125, 0], [.5, .25, .25].


@pytest.mark.parametrize(
    'policy, at_first, at_second',
    [
        (ConfidencePolicy(0.5), [1, 1, 1], [1, 1, 1]),
        (ConfidencePolicy(0.75), [0, 1, 0], [0, 1, 1]),
        (ConfidencePolicy([0.75, 0.8]), [0, 1, 0], [0, 1, 0]),
        (ConfidencePolicy([None, 0.5]), [0, 0, 0], [1, 1, 1]),
        (ConfidencePolicy(0.75, ensemble=True), [0, 1, 0], [0, 1, 0]),
        (ConfidencePolicy([None, 0.5], ensemble=True), [0, 0, 0], [1, 1, 1]),
        (MarginPolicy(0.25), [1, 1, 1], [0, 1, 1]),
        (MarginPolicy(0.5), [0, 1, 0], [0, 1, 1]),
        (MarginPolicy([1, 1]), [0, 0, 0], [0, 1, 0]),
        (MarginPolicy(0.25, ensemble=True), [1, 1, 1], [0, 1, 1]),
        # Entropies in bits: 1.5, 0.811, 1.5; then 1, 0, 0.811; of log2(3).
        (EntropyPolicy(0.8 / 1.585), [0, 0, 0], [0, 1, 0]),
        (EntropyPolicy(0.82 / 1.585), [0, 1, 0], [0, 1, 1]),
        (EntropyPolicy([None, 0]), [0, 0, 0], [0, 1, 0]),
        (EntropyPolicy(1), [1, 1, 1], [1, 1, 1]),
        # Of the mean: 1.406, 0.544, 1.5.
        (EntropyPolicy(0.6 / 1.585, ensemble=True), [0, 0, 0], [0, 1, 0]),
        (PatiencePolicy(1), [1, 1, 1], [1, 1, 1]),
        (PatiencePolicy(2), [0, 0, 0], [1, 1, 0]),
        (PatiencePolicy(3), [0, 0, 0], [0, 0, 0]),
        (FixedExitPolicy(), [0, 0, 0], [0, 0, 0]),
        (FixedExitPolicy(3), [0, 0, 0], [0, 0, 0]),
    ],
)
def test_which_samples_stop(policy, at_first, at_second):
    for reached, expected in (([FIRST], at_first), ([FIRST, SECOND], at_second)):
        decision = policy.should_exit(reached, len(reached))
        assert decision.dtype == torch.bool and decision.tolist() == expected


@pytest.mark.parametrize(
    'policy', [ConfidencePolicy(0), EntropyPolicy(1), MarginPolicy(0)], ids=lambda p: p.name
)
def test_no_sample_stops_on_nan(policy):
    assert policy.should_exit([tensor([[float('nan')] * 3])], 1).tolist() == [False]


def test_answers():
    last, mean = (ConfidencePolicy(0.5, ensemble=e) for e in (False, True))
    assert torch.equal(last.answer([FIRST, SECOND]), SECOND)
    assert torch.equal(mean.answer([FIRST]), FIRST)
    expected = [[0.5, 0.375, 0.125], [0.875, 0.125, 0], [0.5, 0.25, 0.25]]
    assert mean.answer([FIRST, SECOND]).tolist() == expected


@pytest.mark.parametrize(
    'policy, used, last',
    [
        (ConfidencePolicy(0.5), [1, 1, 1], 4),
        (ConfidencePolicy([0.5, None, 0.5]), [1, 0, 1], 4),
        (ConfidencePolicy([None] * 3), [0, 0, 0], 4),
        (MarginPolicy([None, 0.5, None], ensemble=True), [1, 1, 1], 4),
        (EntropyPolicy([None, 0, None]), [0, 1, 0], 4),
        (PatiencePolicy(3), [1, 1, 1], 4),
        (PatiencePolicy(1), [1, 1, 1], 1),
        (FixedExitPolicy(), [0, 0, 0], 4),
        (FixedExitPolicy(2), [0, 0, 0], 2),
        (FixedExitPolicy(2, ensemble=True), [1, 1, 1], 2),
        (FixedExitPolicy(-1, ensemble=True), [1, 1, 1], 4),
    ],
)
def test_which_exits_are_used_and_where_it_ends(policy, used, last):
    policy.check(4)
    assert [policy.uses_exit(i) for i in (1, 2, 3)] == used
    assert policy.last(4) == last


@pytest.mark.parametrize(
    'policy, message',
    [
        (ConfidencePolicy([0.5, 0.5]), '2 thresholds .* 4 exits; it needs 3'),
        (EntropyPolicy([0.5] * 4), '4 thresholds .* 4 exits'),
        (PatiencePolicy(temperatures=[1, 2, 3]), '3 temperatures .* 4 exits'),
        (FixedExitPolicy(5), 'exit_number=5; the network has 4 exits'),
    ],
)
def test_policy_for_another_network(policy, message):
    with pytest.raises(ConfigError, match=f'^{policy.name}: {message}'):
        policy.check(4)


@pytest.mark.parametrize(
    'config',
    [
        dict(type='ConfidencePolicy', thresholds=0.9, temperatures=None, ensemble=False),
        dict(type='MarginPolicy', thresholds=[0.0, None], temperatures=None, ensemble=False),
        dict(type='EntropyPolicy', thresholds=0.125, temperatures=[0.5, 0.25], ensemble=True),
        dict(type='PatiencePolicy', patience=3, temperatures=None, ensemble=True),
        dict(type='FixedExitPolicy', exit_number=2, temperatures=[3.0, 1.0], ensemble=False),
    ],
    ids=lambda c: c['type'],
)
def test_config_round_trip(config):
    policy = build_policy(config)
    assert type(policy) is POLICY_TYPES[config['type']]
    assert policy.config() == config
    assert json.loads(json.dumps(policy.config())) == config
    again = build_policy({**config, 'type': f'mmrazor_byot.{policy.name}'})
    assert again.config() == config


def test_numbers_of_numpy_become_plain():
    """What a search finds goes into a JSON file."""
    pairs = [
        (ConfidencePolicy(np.float32(0.5)), ConfidencePolicy(0.5)),
        (MarginPolicy(np.array([0.5, 0.25]), np.array([1, 2])), MarginPolicy([0.5, 0.25], [1, 2])),
        (PatiencePolicy(np.int64(2)), PatiencePolicy(2)),
        (FixedExitPolicy(np.int64(1)), FixedExitPolicy(1)),
    ]
    for found, plain in pairs:
        assert json.dumps(found.config()) == json.dumps(plain.config())


@pytest.mark.parametrize(
    'config, message',
    [
        ('ConfidencePolicy', 'an exit policy is a dict with type'),
        (None, 'an exit policy is a dict with type'),
        (dict(thresholds=0.5), 'an exit policy is a dict with type'),
        (dict(type='Sure'), "there is no exit policy 'Sure'; there are .*'PatiencePolicy'"),
        (dict(type='ExitPolicy'), "there is no exit policy 'ExitPolicy'"),
        (dict(type='ThresholdPolicy', thresholds=1), 'there is no exit policy'),
    ],
)
def test_no_policy(config, message):
    with pytest.raises(ConfigError, match=f'^{message}'):
        build_policy(config)


@pytest.mark.parametrize(
    'kind, settings, message',
    [
        ('ConfidencePolicy', dict(), "'thresholds'"),
        ('PatiencePolicy', dict(patients=2), "'patients'"),
        ('ConfidencePolicy', dict(thresholds=1.5), 'thresholds=1.5'),
        ('MarginPolicy', dict(thresholds=[0.5, -0.1]), r'thresholds=\[0.5, -0.1\]'),
        ('EntropyPolicy', dict(thresholds=float('nan')), 'thresholds=nan'),
        ('ConfidencePolicy', dict(thresholds='high'), "{'thresholds': 'high'}"),
        ('ConfidencePolicy', dict(thresholds=None), "{'thresholds': None}"),
        ('PatiencePolicy', dict(temperatures=[1, 0]), r'temperatures=\[1.0, 0.0\]'),
        ('PatiencePolicy', dict(temperatures=[]), r'temperatures=\[\]'),
        ('PatiencePolicy', dict(temperatures=[float('nan')]), r'temperatures=\[nan\]'),
        ('PatiencePolicy', dict(temperatures=2.0), "{'temperatures': 2.0}"),
        ('PatiencePolicy', dict(patience=0), 'patience=0'),
        ('PatiencePolicy', dict(patience=1.5), 'patience=1.5'),
        ('FixedExitPolicy', dict(exit_number=0), 'exit_number=0'),
        ('FixedExitPolicy', dict(exit_number=-2), 'exit_number=-2'),
        ('FixedExitPolicy', dict(exit_number=1.5), 'exit_number=1.5'),
        ('FixedExitPolicy', dict(exit_number='last'), "{'exit_number': 'last'}"),
    ],
)
def test_settings_that_cannot_be(kind, settings, message):
    with pytest.raises(ConfigError, match=f'^{kind}.*{message}'):
        build_policy(dict(type=kind, **settings))


def test_config_of_the_caller_stays_as_it_is():
    config = dict(type='ConfidencePolicy', thresholds=[0.5])
    build_policy(config).thresholds.append(1)
    assert config == dict(type='ConfidencePolicy', thresholds=[0.5])


@pytest.fixture
def own_policies():
    """Lets a test define policies; afterwards there are as many as before."""
    known = dict(POLICY_TYPES)
    yield
    POLICY_TYPES.clear()
    POLICY_TYPES.update(known)


def test_a_policy_of_ones_own(own_policies):
    class EveryOther(ExitPolicy):
        def __init__(self, odd=True):
            super().__init__()
            self.odd = odd

        def should_exit(self, reached, exit_number):
            return (torch.arange(len(reached[-1])) % 2 == 1) == self.odd

    policy = build_policy(dict(type='EveryOther', odd=False))
    assert policy.should_exit([torch.zeros(3, 2)], 1).tolist() == [1, 0, 1]
    assert policy.config() == dict(type='EveryOther', odd=False)


def test_a_policy_with_the_old_names(own_policies):
    renamed = 'leaves is now should_exit, reads is now uses_exit'
    with pytest.warns(FutureWarning, match=renamed) as w:

        class Old(ExitPolicy):
            def reads(self, exit_number):
                return exit_number == 2

            def leaves(self, reached, exit_number):
                return reached[-1][:, 0] > 0.4

    assert len(w) == 1
    assert [Old().uses_exit(i) for i in (1, 2)] == [False, True]
    assert Old().should_exit([FIRST], 2).tolist() == [True, True, False]
