"""From a checkpoint to a policy file, a test with it, and figures."""

import json

import cv2
import numpy as np
import pytest
from run import DIGITS, PLAIN, WEIGHTS, failed, printed_briefly, succeeded, tool

from mmrazor_byot.early_exit import build_policy


def calibrate(*flags, recipe=DIGITS):
    """Calibrate the shipped network's exits."""
    return tool('calibrate_exits.py', recipe, WEIGHTS, *flags)


@pytest.fixture(scope='module')
def policy(tmp_path_factory):
    """A policy file, and what the tool printed."""
    path = tmp_path_factory.mktemp('calibrate') / 'policy.json'
    return path, succeeded(calibrate('--max-drop', '0.5', '--out', path))


def test_policy_file(policy):
    path, text = policy
    data = json.loads(path.read_text())
    facts = data['calibration']
    assert facts['checkpoint'] == WEIGHTS.name
    assert facts['images'] == 236  # every fifth of each digit
    assert facts['target']['max_drop'] == 0.5
    lost = facts['exit_accuracy'][-1] - facts['expected']['accuracy']
    assert lost <= 0.5 + 1e-9
    assert facts['expected']['cost_share'] < 1
    # Four exits for all, and thresholds: last or mean, shared or joint.
    assert len(facts['compared']) == 8
    kinds = {c['policy']['type'] for c in facts['compared']}
    assert kinds == {'FixedExitPolicy', 'ConfidencePolicy'}
    chosen = dict(facts['expected']['policy'], temperatures=data['policy']['temperatures'])
    assert build_policy(chosen).config() == data['policy']
    assert 'hold_out_every' not in text  # the recipe trains without them


def test_batched_data_give_the_same_policy(policy, tmp_path):
    path = tmp_path / 'policy.json'
    fast = DIGITS.with_name('byot_resnet18-fast_2xb64_digits.py')
    printed_briefly(succeeded(calibrate('--max-drop', '0.5', '--out', path, recipe=fast)))
    found, expected = (json.loads(file.read_text()) for file in (path, policy[0]))
    assert found['calibration']['images'] == 236
    assert found['policy'] == expected['policy']


def test_the_policy_tested(policy, tmp_path):
    out = tmp_path / 'result.json'
    text = succeeded(tool('test.py', DIGITS, WEIGHTS, '--policy', policy[0], '--out', out))
    assert len(text.splitlines()) <= 12
    result = json.loads(out.read_text())
    assert result['images'] == 599
    assert result['deepest_top1'] == pytest.approx(99.0, abs=0.01)
    # Half a percentage point may be lost, on other images; three of these are half of one.
    assert result['top1'] > result['deepest_top1'] - 0.51
    assert sum(result['exit_shares']) == pytest.approx(1)
    assert result['flops_share'] < 1
    assert 'ms per image' in text


def test_figures(policy, tmp_path):
    flags = '--policy', policy[0], '--out', tmp_path, '--timed-images', '4'
    printed_briefly(succeeded(tool('analysis_tools/plot_exits.py', DIGITS, WEIGHTS, *flags)))
    for name in ('accuracy_flops', 'accuracy_time', 'exit_shares', 'gallery'):
        image = cv2.imread(str(tmp_path / f'{name}.png'))
        assert np.ptp(image) > 200 and min(image.shape[:2]) > 300
        assert '</svg>' in (tmp_path / f'{name}.svg').read_text()
    found = json.loads((tmp_path / 'exits.json').read_text())
    top1 = [round(point['top1'], 2) for point in found['exits']]
    assert top1 == [97.33, 98.66, 99.0, 99.0, 99.0]
    assert found['policies'][0]['name'] == 'policy'
    everyone_at_once = found['curve'][0]
    assert everyone_at_once['threshold'] == 0
    assert everyone_at_once['exit_shares'] == [1, 0, 0, 0]


def test_latency(tmp_path):
    out = tmp_path / 'p.json'
    text = succeeded(calibrate('--latency-ms', '1e4', '--answer', 'last', '--out', out))
    facts = json.loads(out.read_text())['calibration']
    assert facts['cost_unit'] == 'ms' and 'ms, ratio' in text
    assert facts['target']['latency_ms'] == 1e4
    assert 0 < facts['cost_of_deepest'] < 1e4
    # With time for everything, no accuracy is given up.
    assert facts['expected']['accuracy'] >= facts['exit_accuracy'][-1]


def test_times_of_a_device(tmp_path):
    costs, out = tmp_path / 'bench.json', tmp_path / 'p.json'
    times = dict(cumulative=[7.0, 20.0, 30.0, 40.0], fixed=[7.0, 8.0, 9.0, 10.0], unit='ms')
    costs.write_text(json.dumps(dict(costs=times)))
    succeeded(calibrate('--max-drop', '5', '--costs', costs, '--out', out))
    facts = json.loads(out.read_text())['calibration']
    # Reading an exit costs more than it can save: stop at the first for all.
    assert facts['cost_of_deepest'] == 10 and facts['cost_unit'] == 'ms'
    assert facts['expected']['policy'] == dict(type='FixedExitPolicy', exit_number=1)


@pytest.mark.parametrize(
    'costs, words',
    [
        ({'rows': []}, 'not a result of tools/deploy/bench.py'),
        (
            dict(costs=dict(cumulative=[1, float('nan'), 3, 4], fixed=[1, 2, 3, 4], unit='ms')),
            'cumulative is nan at exit 2',
        ),
        (
            dict(costs=dict(cumulative=[1, 2, 3], fixed=[1, 2, 3], unit='ms')),
            'times of 3 exits, but the network has 4',
        ),
    ],
)
def test_times_that_are_none(tmp_path, costs, words):
    path = tmp_path / 'bench.json'
    path.write_text(json.dumps(costs))
    line = failed(calibrate('--max-drop', '0.5', '--costs', path))
    assert f'--costs {path}: ' in line and words in line


def test_budget_out_of_reach(tmp_path):
    done = calibrate('--budget', '0.1', '--out', tmp_path / 'p.json')
    assert 'no policy can cost' in failed(done)
    assert list(tmp_path.iterdir()) == []


TEST_IMAGES = 'split=test', 'held_out=False', 'hold_out_every=None'


@pytest.mark.parametrize(
    'flags, words',
    [
        (('--budget', '2'), '--budget 2.0'),
        (('--max-drop', '-1'), '--max-drop -1.0'),
        (('--latency-ms', '0'), '--latency-ms 0.0'),
        (('--latency-ms', 'nan'), '--latency-ms nan'),
        (
            ('--max-drop', '1', '--cfg-options')
            + tuple(f'calibration_dataloader.dataset.{option}' for option in TEST_IMAGES),
            'reads the test images',
        ),
    ],
)
def test_wrong_wishes(flags, words):
    assert words in failed(calibrate(*flags))


def test_no_exits():
    assert 'without exits' in failed(calibrate('--max-drop', '1', recipe=PLAIN))


def test_wrong_policies(policy, tmp_path):
    path = tmp_path / 'policy.json'
    path.write_text(policy[0].read_text()[:100])
    for arguments, words in [
        (('--policy', path), 'truncated or not JSON'),
        (('--policy', tmp_path / 'none.json'), 'does not exist'),
        (('--policy', policy[0], '--launcher', 'pytorch'), '--launcher'),
        (('--policy', policy[0], '--show-dir', tmp_path), 'tools/infer'),
    ]:
        assert words in failed(tool('test.py', DIGITS, WEIGHTS, *arguments))
