"""Noise on the weights, on networks small enough to reckon by hand."""

import math

import numpy as np
import pytest
import torch
from flatness import (
    measure_flatness,
    noisy_weights,
    score_exits,
    summary,
)
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation.collect import Logits


class TwoClasses(BaseModel):
    """Logits W x, and a bias that noise must leave alone."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.fc = torch.nn.Linear(2, 2)
        with torch.no_grad():
            self.fc.weight.copy_(scale * torch.eye(2))
            self.fc.bias.zero_()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.fc(inputs)


def one_image():
    """x = (1, 0), of class 0."""
    sample = DataSample().set_gt_label(torch.tensor([0]))
    return [dict(inputs=torch.tensor([[1.0, 0.0]]), data_samples=[sample])]


def differences(draws, seed=0):
    """How much noise of sigma 1 takes from the right logit's lead."""
    found = []
    for draw in range(draws):
        generator = np.random.default_rng((seed, draw))
        noise = generator.standard_normal((2, 2), np.float32)
        found.append(noise[1, 0] - noise[0, 0])
    return np.array(found)


def test_every_draw_by_hand():
    sigmas = [0.0, 0.5, 1.0, 2.0]
    found = measure_flatness(TwoClasses(), one_image(), sigmas, 5, seed=3)
    lead = 1 - np.outer(sigmas, differences(5, seed=3))
    assert found['exits'] == ['1/1'] and found['weights'] == 4
    np.testing.assert_array_equal(found['top1'][0], 100.0 * (lead > 0))
    assert 0 < (lead > 0).mean() < 1
    np.testing.assert_allclose(found['loss'][0], np.log1p(np.exp(-lead)), rtol=1e-5, atol=1e-6)


def test_accuracy_is_the_gaussian_integral():
    found = measure_flatness(TwoClasses(), one_image(), [0.8], 400)
    # 1 + 0.8 (n1 - n2) > 0, where the difference has variance 2.
    expected = 0.5 * (1 + math.erf(1 / (0.8 * math.sqrt(2)) / math.sqrt(2)))
    error = math.sqrt(expected * (1 - expected) / 400)
    assert found['top1'].mean() / 100 == pytest.approx(expected, abs=3 * error)


def test_relative_noise():
    """The standard deviation of (3, 0, 0, 3) is 1.5."""
    relative = measure_flatness(TwoClasses(3.0), one_image(), [0.4], 4, relative=True)
    absolute = measure_flatness(TwoClasses(3.0), one_image(), [0.6], 4)
    np.testing.assert_allclose(relative['loss'], absolute['loss'], rtol=1e-5)


@pytest.fixture
def network(build_byot):
    model = build_byot()
    for head in [*model.exit_heads, model.architecture.head]:
        torch.nn.init.normal_(head.fc.weight)  # not all alike
    return model


@pytest.fixture
def batches(batch):
    images, samples = batch(20)
    return [dict(inputs=images[i : i + 8], data_samples=samples[i : i + 8]) for i in (0, 8, 16)]


@pytest.mark.parametrize('relative', [False, True])
def test_the_plain_network_gets_the_noise_of_its_twin(network, batches, relative):
    """And noise on the exit heads moves only their own answers."""
    settings = dict(sigmas=[0.0, 0.05], draws=2, relative=relative)
    byot = measure_flatness(network, batches, **settings)
    plain = measure_flatness(network.architecture, batches, **settings)
    assert byot['exits'] == ['1/4', '2/4', '3/4', '4/4', 'ensemble']
    np.testing.assert_allclose(byot['loss'][3:4], plain['loss'], rtol=1e-5)
    assert (
        byot['weights']
        == plain['weights']
        == sum(p.numel() for p in network.architecture.parameters() if p.ndim > 1)
    )
    # Every exit is moved, each draw otherwise, and none without noise.
    assert (np.ptp(byot['loss'][:, 1], axis=-1) > 1e-4).all()
    assert (np.ptp(byot['loss'][:, 0], axis=-1) == 0).all()


def test_the_network_stays_as_it_was(network, batches):
    before = {k: v.clone() for k, v in network.state_dict().items()}
    modes = [m.training for m in network.modules()]
    measure_flatness(network, batches, [0.3], 1)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [m.training for m in network.modules()] == modes


def test_the_network_is_restored_after_an_error(network, batches):
    before = {k: v.clone() for k, v in network.state_dict().items()}
    batches[-1]['data_samples'][0].set_gt_label(torch.tensor([-1]))
    with pytest.raises(Exception, match='labels from -1'):
        measure_flatness(network, batches, [0.3], 1)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weights_no_answer_depends_on_get_no_noise(network, batches):
    weights, own = noisy_weights(network, (3, 32, 32))
    network.unused = torch.nn.Linear(4, 4)
    again, same = noisy_weights(network, (3, 32, 32))
    assert own == same and len(weights) == len(again) > own
    assert all(w is a and w.ndim > 1 for w, a in zip(weights, again))


def test_scores_by_hand():
    """Exits say (1/4, 3/4) and (3/4, 1/4): the ensemble does not know."""
    log3 = math.log(3)
    data = Logits(np.array([[[0, log3], [log3, 0]]], np.float32), np.array([1]))
    top1, loss = score_exits(data)
    assert top1[:2] == [100, 0]
    assert loss == pytest.approx([math.log(4 / 3), math.log(4), math.log(2)], rel=1e-6)


def test_summary_by_hand():
    top1 = np.array([[[90.0, 90.0], [50.0, 80.0]]])
    rows = summary(dict(exits=['1/1'], top1=top1, loss=top1 / 10))
    assert rows[0]['top1'].tolist() == [90, 65]
    assert rows[0]['top1_std'] == pytest.approx([0, math.sqrt(450)])
    assert rows[0]['loss_std'] == pytest.approx([0, math.sqrt(4.5)])
    single = summary(dict(exits=['1/1'], top1=top1[..., :1], loss=top1[..., :1]))
    assert single[0]['top1_std'].tolist() == [0, 0]


@pytest.mark.parametrize(
    'settings, words',
    [
        (dict(sigmas=[0.0, -0.1]), r'sigmas \[-0.1\]'),
        (dict(sigmas=[float('nan')]), r'sigmas \[nan\]'),
        (dict(sigmas=[]), 'none'),
        (dict(sigmas=[0.1], draws=0), 'draws=0'),
    ],
)
def test_wrong_noise(settings, words):
    with pytest.raises(ConfigError, match=words):
        measure_flatness(TwoClasses(), one_image(), **settings)
