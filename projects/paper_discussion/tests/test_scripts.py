"""The figures of the paper's discussion, from command to file."""

import json

import cv2
import numpy as np
import pytest
import torch
from run import DIGITS, PLAIN, ROOT, WEIGHTS, failed, script, succeeded
from sklearn.metrics import calinski_harabasz_score

from mmrazor_byot.datasets import Digits

FOLDER = ROOT / 'projects/paper_discussion'


def analyse(name, out, *arguments):
    """Run a tool; its numbers, and a look at its figure."""
    printed = succeeded(script(FOLDER / f'plot_{name}.py', *arguments, '--out', out))
    image = cv2.imread(str(out / f'{name}.png'))
    assert np.ptp(image) > 200 and min(image.shape[:2]) > 500
    assert '</svg>' in (out / f'{name}.svg').read_text()
    assert str(out / f'{name}.json') in printed
    return json.loads((out / f'{name}.json').read_text())


@pytest.fixture
def twins(plain_weights):
    """Flags for the shipped network, and for its deepest exit alone."""
    models = '--model', DIGITS, WEIGHTS, '--model', PLAIN, plain_weights
    return *models, '--names', 'BYOT', 'alone'


def test_flatness(twins, tmp_path):
    found = analyse('flatness', tmp_path, *twins, '--sigmas', '0.08', '--draws', '2')
    assert found['sigmas'] == [0, 0.08] and found['images'] == 599
    byot, alone = found['models']
    at_rest = [round(row['top1'][0], 2) for row in byot['exits']]
    assert at_rest == [97.33, 98.66, 99.0, 99.0, 99.0]
    # The same network, noise and images: what differs is rounding.
    (deepest,) = alone['exits']
    assert deepest['exit'] == '1/1' and byot['exits'][3]['exit'] == '4/4'
    assert deepest['loss'] == pytest.approx(byot['exits'][3]['loss'], rel=1e-4)
    assert deepest['top1'] == pytest.approx(byot['exits'][3]['top1'], abs=0.2)
    assert alone['noisy_weights'] == byot['noisy_weights']
    assert deepest['top1'][1] < 90 < deepest['top1'][0]
    draws = deepest['top1_draws'][1]
    assert deepest['top1_std'][1] == pytest.approx(abs(draws[0] - draws[1]) / 2**0.5)


def test_gradients(twins, tmp_path):
    found = analyse('gradients', tmp_path, *twins, '--batches', '2')
    byot, alone = (np.array(m['gradients']) for m in found['models'])
    assert len(found['layers']) == len(byot) == 21
    assert found['sections'] == [1] * 5 + [2] * 5 + [3] * 5 + [4] * 6
    # Nothing but the deepest label loss reaches the last section, and the images and crops were the
    # same.
    np.testing.assert_allclose(byot[15:], alone[15:], rtol=1e-3)
    assert (byot[:15] > 1.5 * alone[:15]).all()
    heads = found['models'][0]['exit_heads']
    assert all(name.startswith('exit_heads.') for name in heads)
    assert found['models'][1]['exit_heads'] == {}


def test_separability(twins, tmp_path):
    found = analyse('separability', tmp_path, DIGITS, WEIGHTS)
    assert [row['exit'] for row in found['exits']] == ['1/4', '2/4', '3/4', '4/4']
    top1 = [round(row['top1'], 2) for row in found['exits']]
    assert top1 == [97.33, 98.66, 99.0, 99.0]
    features, labels = features_by_hand(1)
    second = found['exits'][1]
    assert second['size'] == features.shape[1]
    assert second['calinski_harabasz'] == pytest.approx(
        calinski_harabasz_score(features, labels), rel=1e-3
    )
    assert second['ssb_ssw'] == pytest.approx(second['calinski_harabasz'] * 9 / 589)
    # The plain network is the deepest exit; three classes are drawn.
    plain, checkpoint = twins[4:6]
    flags = '--classes', '3', '--projection', 'tsne', '--limit-images', '599'
    alone = analyse('separability', tmp_path, plain, checkpoint, *flags)
    assert alone['drawn_classes'] == ['0', '1', '2']
    assert alone['exits'][0]['ssb'] == pytest.approx(found['exits'][3]['ssb'], rel=1e-4)


def features_by_hand(exit_index):
    from mmengine.config import Config

    from mmrazor_byot.registry import MODELS

    model = MODELS.build(Config.fromfile(DIGITS).model)
    model.load_state_dict(torch.load(WEIGHTS, weights_only=False)['state_dict'])
    model.eval()
    digits = Digits(split='test')
    images = torch.tensor(digits.images).permute(0, 3, 1, 2)
    with torch.no_grad():
        out = model.forward_exits((images - 77.8) / 82.5)[exit_index]
    return out.feature.numpy(), digits.labels


@pytest.mark.parametrize(
    'command, words',
    [
        (('flatness', '--model', DIGITS), 'give a config and a checkpoint'),
        (('flatness', '--model', DIGITS, WEIGHTS, '--sigmas', '-1'), 'sigmas [-1.0]'),
        (('gradients', '--model', DIGITS, WEIGHTS, '--batches', '0'), '--batches 0'),
        (('separability', DIGITS, WEIGHTS, '--classes', '1'), '--classes 1'),
        (('separability', DIGITS, WEIGHTS, '--limit-images', '1'), '1 images of 1 classes'),
    ],
)
def test_wrong_wishes(command, words, tmp_path):
    name, *arguments = command
    done = script(FOLDER / f'plot_{name}.py', *arguments, '--out', tmp_path / 'out')
    assert words in failed(done)
