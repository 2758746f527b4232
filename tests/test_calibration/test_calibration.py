from itertools import product

import numpy as np
import pytest
import torch

from mmrazor_byot.calibration.calibrate import Goal, calibrate
from mmrazor_byot.calibration.report import calibration_facts, format_calibration
from mmrazor_byot.calibration.temperature import fit_temperature
from mmrazor_byot.calibration.threshold_search import Costs
from mmrazor_byot.early_exit import RecordedNetwork
from mmrazor_byot.errors import ConfigError, DatasetError, NonFiniteOutputError

COSTS = Costs.of_stages([4.0, 3.0, 3.0], [0.4, 0.2, 0.0])


@pytest.fixture
def data():
    """Logits (600, 3, 5) of exits that are much too confident, and labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=600)
    logits = rng.normal(size=(600, 3, 5))
    logits[np.arange(600), :, labels] += [1.5, 2.0, 2.2]
    return 5 * logits, labels


@pytest.mark.parametrize('drop', [0.0, 0.5, 3.0])
def test_max_drop(data, drop):
    logits, labels = data
    found = calibrate(logits, labels, COSTS, goal=Goal(max_drop=drop))
    deepest = (logits[:, -1].argmax(1) == labels).mean()
    assert found.exit_accuracy[-1] == deepest
    outcome = RecordedNetwork(torch.from_numpy(logits)).run(found.policy)
    accuracy = (outcome.scores.argmax(1).numpy() == labels).mean()
    assert accuracy == found.chosen.seen.accuracy
    assert found.chosen.seen.accuracy >= deepest - drop / 100 - 1e-12
    assert found.chosen.seen.cost < 10  # cheaper than the deepest exit


@pytest.mark.parametrize('goal, limit', [(Goal(budget=0.6), 6.0), (Goal(cost=7.0), 7.0)])
def test_budget(data, goal, limit):
    logits, labels = data
    found = calibrate(logits, labels, COSTS, goal=goal)
    assert 4.4 <= found.chosen.seen.cost <= limit
    first = (logits[:, 0].argmax(1) == labels).mean()
    assert found.chosen.seen.accuracy > first


def test_temperatures_lessen_the_error(data):
    logits, labels = data
    found = calibrate(logits, labels, COSTS, goal=Goal(max_drop=1.0))
    for i, (before, after) in enumerate(zip(found.ece_before, found.ece_after)):
        assert after < 0.7 * before
        assert found.temperatures[i] == fit_temperature(logits[:, i], labels)
    assert found.policy.temperatures == found.temperatures


def test_the_simplest_is_kept_where_nothing_is_gained(data):
    logits, labels = data
    logits[:, 1] = logits[:, 0]  # nothing is learned by going on to exit 2
    logits[:, 2] = logits[:, 0]
    found = calibrate(logits, labels, COSTS, goal=Goal(max_drop=0.0))
    assert found.chosen.search == 'fixed'  # the simplest of all
    assert found.chosen.seen.fractions.tolist() == [1.0, 0.0, 0.0]


def test_all_candidates_are_reported(data):
    logits, labels = data
    kinds = ['ConfidencePolicy', 'EntropyPolicy']
    found = calibrate(logits, labels, COSTS, goal=Goal(max_drop=1.0), kinds=kinds)
    text = format_calibration(found, COSTS)
    facts = calibration_facts(found, COSTS)
    assert [c['policy']['exit_number'] for c in facts['compared'][:3]] == [1, 2, 3]
    compared = [
        (c['policy']['type'], c['policy']['ensemble'], c['search']) for c in facts['compared'][3:]
    ]
    assert compared == list(product(kinds, (False, True), ('shared', 'joint')))
    assert text.count('| * |') == 1
    assert facts['expected'] in facts['compared']
    fraction = found.chosen.seen.cost / 10
    assert facts['expected']['cost_share'] == pytest.approx(fraction)
    assert f'{fraction:.3f}' in text


def test_too_little(data):
    logits, labels = data
    with pytest.raises(ConfigError, match='49 images are too few'):
        calibrate(logits[:49], labels[:49], COSTS, goal=Goal(max_drop=1.0))
    with pytest.raises(ConfigError, match='exit 1 alone costs 4.4, 0.44 of'):
        calibrate(logits, labels, COSTS, goal=Goal(budget=0.4))


def test_a_fixed_exit_by_hand(data):
    logits, labels = data
    logits[:, 1] = logits[:, 2]  # exit 2 is as good as the deepest
    costs = Costs([5.0, 9.0, 12.0], [3.0, 5.0, 8.0], [1.0, 1.0, 0.0], 'ms')
    found = calibrate(logits, labels, costs, Goal(max_drop=0.0))
    assert found.policy.config()['exit_number'] == 2
    assert found.policy.temperatures == found.temperatures
    assert found.chosen.seen == found.chosen.unseen
    assert found.chosen.seen.cost == 5
    facts = calibration_facts(found, costs)
    assert facts['expected']['cost_share'] == 5 / 8 and facts['expected']['unseen_drop'] == 0
    assert facts['cost_of_deepest'] == 8 and facts['cost_unit'] == 'ms'


def test_nothing_but_the_deepest_keeps_the_accuracy(data):
    logits, labels = data
    logits[:, :2] = -logits[:, :2]  # wrong more often than a random guess
    found = calibrate(logits, labels, COSTS, Goal(max_drop=0.0))
    assert found.chosen.seen.fractions.tolist() == [0, 0, 1]
    assert found.chosen.seen.cost == 10


def test_what_misses_the_goal_is_not_taken_for_being_cheap(data):
    logits, labels = data
    logits[:, 0] = logits[:, 2]
    # Exit 1 is wrong about two images more than exit 3, and confident.
    wrong = logits[:, 2].argmax(-1) == labels
    wrong[np.flatnonzero(wrong)[2:]] = False
    logits[wrong, 0] = 0
    logits[wrong, 0, (labels[wrong] + 1) % 5] = 50
    logits[:, 1] = logits[:, 0]
    costs = Costs.of_stages([0.01, 4.0, 6.0], [0.01, 0.4, 0.0])
    lost = 100 * wrong.mean()
    for allowed, missed in [(0.0, True), (1.01 * lost, False)]:
        found = calibrate(logits, labels, costs, Goal(max_drop=allowed))
        first = found.candidates[0]
        assert first.policy['exit_number'] == 1
        facts = calibration_facts(found, costs)['compared'][0]
        assert facts['unseen_drop'] == pytest.approx(lost)
        assert (found.chosen is first) == (not missed)
        right = (logits[:, 2].argmax(-1) == labels).mean()
        assert found.chosen.seen.accuracy >= right - allowed / 100


@pytest.mark.parametrize(
    'place, value, error, message',
    [
        ((3, 1, 2), np.nan, NonFiniteOutputError, 'exit 2 answers with NaN .* 1 of 600 images'),
        ((slice(4), 2), np.inf, NonFiniteOutputError, 'exit 3 answers .* 4 of 600 images'),
        (7, 5, DatasetError, 'labels from 0 to 5 for a network of 5 classes'),
        (7, -100, DatasetError, 'labels from -100 to 4'),  # torch ignores it
        (slice(None), None, DatasetError, 'labels are float64'),
    ],
)
def test_data_that_cannot_be(data, place, value, error, message):
    logits, labels = data
    if value is None:
        labels = labels + 0.5
    elif error is DatasetError:
        labels[place] = value
    else:
        logits[place] = value
    with pytest.raises(error, match=message):
        calibrate(logits, labels, COSTS, goal=Goal(max_drop=1.0))


@pytest.mark.parametrize(
    'costs, message',
    [
        (
            COSTS._replace(cumulative=[4.4, np.nan, 10.6]),
            'cumulative is nan at exit 2; .* positive',
        ),
        (COSTS._replace(fixed=[4.4, 7.2, np.inf]), 'fixed is inf at exit 3'),
        (COSTS._replace(fixed=[-4.4, 7.2, 10]), 'fixed is -4.4 at exit 1'),
        (COSTS._replace(fixed=[0, 7.2, 10]), 'fixed is 0.0 at exit 1'),
        (COSTS._replace(heads=[0, -0.1, 0]), 'heads is -0.1 at exit 2'),
        (COSTS._replace(fixed=[4.4, 7.2]), 'times of 2 exits, but the network has 3'),
    ],
)
def test_costs_that_cannot_be(data, costs, message):
    with pytest.raises(ConfigError, match=message):
        calibrate(*data, costs, goal=Goal(max_drop=1.0))


@pytest.mark.parametrize('goal', [dict(budget=np.nan), dict(max_drop=-1.0), dict(cost=np.inf)])
def test_goals_that_cannot_be(data, goal):
    ((name, value),) = goal.items()
    with pytest.raises(ConfigError, match=f'Goal: {name}={value}'):
        calibrate(*data, COSTS, goal=Goal(**goal))


def test_a_temperature_at_its_limit_is_said_to_be(data):
    """Exit 1 is always right, exit 3 guesses."""
    logits, labels = data
    logits[:, 0] = 10 * np.eye(5)[labels]
    logits[:, 2] = 100 * np.random.default_rng(1).normal(size=(600, 5))
    found = calibrate(logits, labels, COSTS, goal=Goal(max_drop=1.0))
    assert [found.temperatures[0], found.temperatures[2]] == [0.05, 20]
    text = format_calibration(found, COSTS)
    row = next(line for line in text.splitlines() if 'temperature' in line)
    assert [cell.strip() for cell in row.split('|')][2::2][:2] == ['0.05 (limit)', '20.0 (limit)']
    assert 'outside the search from 0.05 to 20' in text
    assert calibration_facts(found, COSTS)['temperature_at_limit'] == [True, False, True]
