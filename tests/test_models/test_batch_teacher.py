"""A teacher that asks the neighbours, against numbers made without it."""
import math

import numpy as np
import pytest
import torch
from by_definition import softmax

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.losses import (
    BatchTeacher,
    batch_ensemble,
    label_loss,
    logit_loss,
)


def test_two_samples_by_hand():
    """Each is the other's only neighbour, however unlike they are.

    P = (1/4, 3/4), (1/2, 1/2) and A = [[0, 1], [1, 0]], so its own count
    (1 - w) / (1 - w^2) = 2/3 at w = 1/2, and the other's 1/3.
    """
    logits = torch.tensor([[0., math.log(3)], [0., 0.]])
    feature = torch.tensor([[1., 0.], [0., 1.]])
    taught = batch_ensemble(logits, feature, temperature=1).softmax(dim=1)
    first = 2 / 3 * 0.25 + 1 / 3 * 0.5
    second = 2 / 3 * 0.5 + 1 / 3 * 0.25
    np.testing.assert_allclose(
        taught, [[first, 1 - first], [second, 1 - second]], atol=1e-6)


@pytest.mark.parametrize('temperature, omega, tau', [
    (3.0, 0.5, 0.1), (1.0, 0.9, 1.0), (5.0, 0.2, 0.05)])
def test_as_the_sum_over_steps(temperature, omega, tau):
    """The inverse is what passing on for ever adds up to."""
    random = np.random.default_rng(0)
    logits, feature = random.normal(size=(9, 5)) * 4, random.random((9, 6))
    unit = feature / np.linalg.norm(feature, axis=1, keepdims=True)
    likeness = np.exp(unit @ unit.T / tau)
    np.fill_diagonal(likeness, 0)
    likeness /= likeness.sum(axis=1, keepdims=True)
    own = softmax(logits / temperature)
    expected = own
    for _ in range(500):
        expected = omega * likeness @ expected + (1 - omega) * own
    taught = batch_ensemble(
        torch.from_numpy(logits), torch.from_numpy(feature)[..., None, None],
        temperature, omega, tau)
    np.testing.assert_allclose(
        (taught / temperature).softmax(dim=1), expected, atol=1e-9)
    np.testing.assert_allclose(  # and the logits are theirs as they stand
        (taught / temperature).exp().sum(dim=1), 1, atol=1e-9)


def test_alone_or_with_omega_zero_nothing_is_taken_in():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, generator=random)
    feature = torch.randn(4, 8, generator=random)
    torch.testing.assert_close(
        batch_ensemble(logits, feature, omega=0).div(3).softmax(1),
        logits.div(3).softmax(1))
    torch.testing.assert_close(
        batch_ensemble(logits[:1], feature[:1]), logits[:1])


def test_it_is_finite_for_certain_networks_and_equal_features():
    logits = torch.tensor([[0., 1e4], [0., 1e4], [0., 1e4]])
    taught = batch_ensemble(logits, torch.zeros(3, 4))
    assert taught.isfinite().all()
    assert logit_loss(torch.zeros(3, 2), taught, 3).isfinite()


def test_mixed_precision_rounds_no_likeness():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 3, generator=random).bfloat16()
    feature = torch.rand(8, 64, generator=random).bfloat16()
    expected = batch_ensemble(logits.float(), feature.float())
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(
            batch_ensemble(logits, feature), expected, atol=0, rtol=0)


@pytest.mark.parametrize('setting', [
    dict(temperature=0), dict(tau=0), dict(omega=1), dict(omega=-0.1),
    dict(tau=float('inf')), dict(omega=float('nan'))])
def test_bad_settings(setting):
    with pytest.raises(ConfigError, match='omega from 0 to below 1'):
        BatchTeacher(**setting)


TEACHER = dict(type='mmrazor_byot.BatchTeacher', temperature=2, tau=0.5)
LOSS = dict(type='mmrazor_byot.LogitLoss', temperature=2, loss_weight=0.4)


def test_all_exits_learn_from_it(build_byot, batch):
    inputs, samples = batch()
    model = build_byot(
        logit_loss=LOSS, teacher=TEACHER, deepest_logit_loss=LOSS)
    exits = model.forward_exits(inputs)
    taught = batch_ensemble(exits[-1].logits, exits[-1].feature, 2, 0.5, 0.5)
    losses = model.loss(inputs, samples)
    for i, out in enumerate(exits, start=1):
        torch.testing.assert_close(
            losses[f'exit{i}.logit_loss'],
            0.4 * logit_loss(out.logits, taught, 2))
    labels = torch.cat([s.gt_label for s in samples])
    torch.testing.assert_close(
        losses['exit4.label_loss'], label_loss(exits[-1].logits, labels))


def test_the_teacher_is_detached(build_byot, batch):
    """The deepest exit's own gradient is (softmax - taught) alone."""
    inputs, samples = batch()
    model = build_byot(
        logit_loss=LOSS, teacher=TEACHER, deepest_logit_loss=LOSS)
    kept = []
    model.architecture.head.fc.register_forward_hook(
        lambda module, args, logits: kept.append(logits))
    loss = model.loss(inputs, samples)['exit4.logit_loss']
    logits, = kept
    gradient, = torch.autograd.grad(loss, logits, retain_graph=True)
    feature = model.forward_exits(inputs)[-1].feature
    taught = batch_ensemble(logits.detach(), feature.detach(), 2, 0.5, 0.5)
    expected = 0.4 * 2 / len(logits) * (
        logits.div(2).softmax(1) - taught.div(2).softmax(1))
    torch.testing.assert_close(gradient, expected)
    others = model.loss(inputs, samples)['exit1.logit_loss']
    assert torch.autograd.grad(
        others, model.architecture.head.fc.weight, allow_unused=True) == (
            None, )


def test_the_deepest_exit_needs_a_teacher(build_byot):
    with pytest.raises(ConfigError, match='give a teacher too'):
        build_byot(deepest_logit_loss=LOSS)
