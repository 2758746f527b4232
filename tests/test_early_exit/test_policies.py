"""What each policy decides, on probabilities made by hand."""

import json

import numpy as np
import pytest
import torch

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
FIRST = [[0.5, 0.25, 0.25], [0.75, 0.25, 0], [0.25, 0.25, 0.5]]
SECOND = [[0.5, 0.5, 0], [1, 0, 0], [0.75, 0.25, 0]]
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
def test_who_leaves(array, policy, at_first, at_second):
    reached = [array(FIRST)]
    assert policy.leaves(reached, 1).tolist() == at_first
    reached.append(array(SECOND))
    decision = policy.leaves(reached, 2)
    assert decision.shape == (3,) and decision.tolist() == at_second
    assert str(decision.dtype).endswith('bool')


def test_nobody_stops_where_there_is_no_threshold(array):
    broken = [array([[float('nan')] * 3])]
    for policy in (
        ConfidencePolicy([None, 0.5], ensemble=True),
        ConfidencePolicy(0),
        EntropyPolicy(1),
        MarginPolicy(0),
    ):
        assert policy.leaves(broken, 1).tolist() == [False]


def test_patience_counts_back_from_the_last_exit(array):
    """Answers 0 1 1, 1 1 0 and 0 0 0."""
    exits = [[[1, 0], [0, 1], [1, 0]], [[0, 1], [0, 1], [1, 0]], [[0, 1], [1, 0], [1, 0]]]
    reached = [array(p) for p in exits]
    assert PatiencePolicy(2).leaves(reached, 3).tolist() == [1, 0, 1]
    assert PatiencePolicy(3).leaves(reached, 3).tolist() == [0, 0, 1]


def test_answers(array):
    third = [[0, 0, 1], [0.25, 0.5, 0.25], [0, 1, 0]]
    reached = [array(FIRST), array(SECOND), array(third)]
    last, mean = (ConfidencePolicy(0.5, ensemble=e) for e in (False, True))
    assert last.answer(reached[:1]).tolist() == FIRST
    assert last.answer(reached[:2]).tolist() == SECOND
    assert last.answer(reached).tolist() == third
    assert mean.answer(reached[:1]).tolist() == FIRST
    assert mean.answer(reached[:2]).tolist() == [
        [0.5, 0.375, 0.125],
        [0.875, 0.125, 0],
        [0.5, 0.25, 0.25],
    ]
    assert mean.answer(reached).tolist() == [
        pytest.approx([1 / 3, 1 / 4, 5 / 12]),
        pytest.approx([2 / 3, 1 / 4, 1 / 12]),
        pytest.approx([1 / 3, 1 / 2, 1 / 6]),
    ]
    assert reached[0].tolist() == FIRST  # what others still need


@pytest.mark.parametrize(
    'exit_number, expected', [(1, [0.8, 0.2]), (2, [2 / 3, 1 / 3]), (3, [16 / 17, 1 / 17])]
)
def test_each_exit_has_its_temperature(array, exit_number, expected):
    """The odds are 4 to 1; at 2 their root, at 0.5 their square."""
    policy = PatiencePolicy(temperatures=[1, 2, 0.5])
    found = policy.probabilities(array([[np.log(4), 0]]), exit_number)
    assert found.tolist() == [pytest.approx(expected)]


def test_no_temperatures_is_one(array):
    found = PatiencePolicy().probabilities(array([[np.log(4), 0]]), 3)
    assert found.tolist() == [pytest.approx([0.8, 0.2])]


@pytest.mark.parametrize(
    'policy, read, last',
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
def test_what_is_read_and_where_it_ends(policy, read, last):
    policy.check(4)
    assert [policy.reads(i) for i in (1, 2, 3)] == read
    assert policy.last(4) == last


@pytest.mark.parametrize(
    'policy, num_exits, message',
    [
        (ConfidencePolicy([0.5, 0.5]), 4, '2 thresholds for a network of 4 exits; it needs 3'),
        (EntropyPolicy([0.5] * 4), 4, '4 thresholds for a network of 4 exits'),
        (PatiencePolicy(temperatures=[1, 2, 3]), 4, '3 temperatures for a network of 4 exits'),
        (MarginPolicy(0.5, temperatures=[1] * 4), 3, '4 temperatures for'),
        (FixedExitPolicy(5), 4, 'exit_number=5, but the network has 4 exits'),
    ],
)
def test_policy_for_another_network(policy, num_exits, message):
    with pytest.raises(ConfigError, match=f'^{policy.name}: {message}'):
        policy.check(num_exits)
    fits = {4: 3, 3: 4}[num_exits]
    if policy.name in ('PatiencePolicy', 'MarginPolicy'):
        policy.check(fits)


def test_all_policies_have_a_name():
    assert sorted(POLICY_TYPES) == [
        'ConfidencePolicy',
        'EntropyPolicy',
        'FixedExitPolicy',
        'MarginPolicy',
        'PatiencePolicy',
    ]


@pytest.mark.parametrize(
    'config',
    [
        dict(type='ConfidencePolicy', thresholds=0.9, temperatures=None, ensemble=False),
        dict(
            type='ConfidencePolicy',
            thresholds=[0.9, None, 0.5],
            temperatures=[1.5, 1.0, 1.0, 2.0],
            ensemble=True,
        ),
        dict(type='MarginPolicy', thresholds=[0.0, 1.0], temperatures=None, ensemble=False),
        dict(type='EntropyPolicy', thresholds=0.125, temperatures=[0.5, 0.25], ensemble=True),
        dict(type='PatiencePolicy', patience=3, temperatures=None, ensemble=True),
        dict(type='FixedExitPolicy', exit_number=2, temperatures=[3.0, 1.0], ensemble=False),
        dict(type='FixedExitPolicy', exit_number=-1, temperatures=None, ensemble=True),
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
    policies = [
        ConfidencePolicy(np.float32(0.5)),
        ConfidencePolicy(np.array([0.5, 0.25], np.float32), temperatures=np.array([1, 2])),
        PatiencePolicy(np.int64(2)),
        FixedExitPolicy(np.int64(1)),
    ]
    configs = json.loads(json.dumps([p.config() for p in policies]))
    assert configs[0]['thresholds'] == 0.5
    assert configs[1]['thresholds'] == [0.5, 0.25]
    assert configs[1]['temperatures'] == [1, 2]
    assert configs[2]['patience'] == 2 and configs[3]['exit_number'] == 1


@pytest.mark.parametrize(
    'config, message',
    [
        ('ConfidencePolicy', 'an exit policy is a dict with type'),
        (None, 'an exit policy is a dict with type'),
        (dict(thresholds=0.5), 'an exit policy is a dict with type'),
        (
            dict(type='Sure'),
            "there is no exit policy 'Sure'; there are "
            r"\['ConfidencePolicy', 'EntropyPolicy', .*'PatiencePolicy'\]",
        ),
        (dict(type='ExitPolicy'), "there is no exit policy 'ExitPolicy'"),
        (dict(type='_ThresholdPolicy', thresholds=1), 'there is no exit policy'),
        (dict(type='ConfidencePolicy'), "ConfidencePolicy .*'thresholds'"),
        (dict(type='PatiencePolicy', patients=2), "PatiencePolicy .*'patients'"),
        (
            dict(type='ConfidencePolicy', thresholds=1.5),
            'ConfidencePolicy: thresholds=1.5; each must be from 0 to 1',
        ),
        (
            dict(type='MarginPolicy', thresholds=[0.5, -0.1]),
            r'MarginPolicy: thresholds=\[0.5, -0.1\]; each must be from 0 to 1',
        ),
        (
            dict(type='EntropyPolicy', thresholds=float('nan')),
            'EntropyPolicy: thresholds=nan; each must be from 0 to 1',
        ),
        (
            dict(type='ConfidencePolicy', thresholds='high'),
            "ConfidencePolicy cannot take {'thresholds': 'high'}",
        ),
        (
            dict(type='ConfidencePolicy', thresholds=None),
            "ConfidencePolicy cannot take {'thresholds': None}",
        ),
        (
            dict(type='PatiencePolicy', temperatures=[1, 0]),
            r'PatiencePolicy: temperatures=\[1.0, 0.0\]; each must be positive',
        ),
        (
            dict(type='PatiencePolicy', temperatures=[]),
            r'PatiencePolicy: temperatures=\[\]; each must be positive',
        ),
        (
            dict(type='PatiencePolicy', temperatures=[float('nan')]),
            r'PatiencePolicy: temperatures=\[nan\]; each must be positive',
        ),
        (
            dict(type='PatiencePolicy', temperatures=2.0),
            "PatiencePolicy cannot take {'temperatures': 2.0}",
        ),
        (dict(type='PatiencePolicy', patience=0), 'PatiencePolicy: patience=0; '),
        (
            dict(type='PatiencePolicy', patience=1.5),
            'PatiencePolicy: patience=1.5; it must be a whole number',
        ),
        (
            dict(type='FixedExitPolicy', exit_number=0),
            'FixedExitPolicy: exit_number=0; exits are counted from 1',
        ),
        (dict(type='FixedExitPolicy', exit_number=-2), 'FixedExitPolicy: '),
        (dict(type='FixedExitPolicy', exit_number=1.5), 'FixedExitPolicy: '),
        (
            dict(type='FixedExitPolicy', exit_number='last'),
            "FixedExitPolicy cannot take {'exit_number': 'last'}",
        ),
    ],
)
def test_settings_that_cannot_be(config, message):
    with pytest.raises(ConfigError, match=f'^{message}'):
        build_policy(config)


def test_config_of_the_caller_stays_as_it_is():
    config = dict(type='ConfidencePolicy', thresholds=[0.5])
    build_policy(config).thresholds.append(1)
    assert config == dict(type='ConfidencePolicy', thresholds=[0.5])


def test_a_policy_of_ones_own():
    try:

        class EveryOther(ExitPolicy):
            def __init__(self, odd=True):
                super().__init__()
                self.odd = odd

            def leaves(self, reached, exit_number):
                return (torch.arange(len(reached[-1])) % 2 == 1) == self.odd

        policy = build_policy(dict(type='EveryOther', odd=False))
        assert policy.leaves([torch.zeros(3, 2)], 1).tolist() == [1, 0, 1]
        assert policy.config() == dict(type='EveryOther', odd=False)
    finally:
        POLICY_TYPES.pop('EveryOther', None)
