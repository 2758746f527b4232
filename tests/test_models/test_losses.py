"""Every loss against numbers worked out without it."""

import math

import numpy as np
import pytest
import torch
from by_definition import softmax
from mmrazor.models.losses import KLDivergence, L2Loss

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.losses import (
    HintLoss,
    LabelLoss,
    LogitLoss,
    hint_loss,
    label_loss,
    logit_loss,
)


@pytest.fixture
def two_sets_of_logits():
    random = np.random.default_rng(0)
    return random.normal(size=(6, 7)) * 3, random.normal(size=(6, 7)) * 3


def test_label_loss_by_hand():
    # softmax of (ln 1, ln 3) is (1/4, 3/4)
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    loss = label_loss(logits, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, abs=1e-6)


def test_label_loss_takes_mixed_labels():
    logits = torch.tensor([[0.0, math.log(3)]])
    loss = label_loss(logits, torch.tensor([[0.5, 0.5]]))
    assert loss.item() == pytest.approx(0.5 * math.log(4) + 0.5 * math.log(4 / 3), abs=1e-6)


def test_logit_loss_by_hand():
    # Teacher (1/2, 1/2), student (1/4, 3/4) at T = 1.
    student = torch.tensor([[0.0, math.log(3)]])
    teacher = torch.zeros(1, 2)
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert logit_loss(student, teacher).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('temperature', [0.5, 1.0, 3.0, 10.0])
def test_logit_loss_in_numpy(two_sets_of_logits, temperature):
    student, teacher = two_sets_of_logits
    p = softmax(teacher / temperature)
    q = softmax(student / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()
    loss = logit_loss(torch.tensor(student), torch.tensor(teacher), temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize('temperature', [1.0, 3.0])
def test_logit_loss_equals_mmrazor(two_sets_of_logits, temperature):
    student, teacher = (
        torch.tensor(z, dtype=torch.float32, requires_grad=True) for z in two_sets_of_logits
    )
    ours = LogitLoss(temperature, loss_weight=0.3)(student, teacher.detach())
    theirs = KLDivergence(tau=temperature, loss_weight=0.3)(student, teacher)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    (ours_grad,) = torch.autograd.grad(ours, student)
    (theirs_grad,) = torch.autograd.grad(theirs, student)
    torch.testing.assert_close(ours_grad, theirs_grad, atol=1e-6, rtol=1e-5)


def test_logit_loss_is_finite_for_certain_teachers():
    teacher = torch.tensor([[1e4, 0.0, 0.0]])
    student = torch.zeros(1, 3, requires_grad=True)
    loss = logit_loss(student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3), rel=1e-5)
    assert torch.isfinite(student.grad).all()


def test_hint_loss_by_hand():
    feature = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    teacher = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert hint_loss(feature, teacher).item() == (5 + 25) / 2
    assert hint_loss(feature, teacher, 'mmrazor').item() == pytest.approx(math.sqrt(30), rel=1e-6)


def test_hint_loss_is_a_mean_over_samples():
    feature, teacher = torch.randn(2, 16, 8)
    halves = (hint_loss(feature[:8], teacher[:8]) + hint_loss(feature[8:], teacher[8:])) / 2
    torch.testing.assert_close(hint_loss(feature, teacher), halves)


@pytest.mark.parametrize(
    'reduction, expected', [('mean', 300.0**2 * 2048), ('mmrazor', (300.0**2 * 2048 * 4) ** 0.5)]
)
def test_hint_loss_in_half_precision(reduction, expected):
    feature = torch.full((4, 2048), 300.0, dtype=torch.float16)
    loss = hint_loss(feature, torch.zeros_like(feature), reduction)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_hint_loss_as_mmrazors():
    feature, teacher = torch.randn(2, 16, 32)
    ours = HintLoss(0.03, reduction='mmrazor')(feature, teacher)
    theirs = L2Loss(0.03, normalize=False, dist=True)(feature, teacher)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)


def test_hint_loss_as_mmrazors_byot_broadcasts_it():
    feature, teacher = torch.randn(2, 6, 32) + torch.tensor([[[0.0]], [[3.0]]])
    feature.requires_grad_()
    ours = HintLoss(0.03, reduction='mmrazor_broadcast')(feature, teacher)
    # MMRazor takes the teacher's feature before it is flattened.
    theirs = L2Loss(0.03, normalize=False, dist=True)(feature, teacher[..., None, None])
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    (ours_grad,) = torch.autograd.grad(ours, feature)
    (theirs_grad,) = torch.autograd.grad(theirs, feature)
    torch.testing.assert_close(ours_grad, theirs_grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('reduction', ['mmrazor', 'mmrazor_broadcast'])
def test_mmrazor_reduction_has_a_gradient_where_features_agree(reduction):
    feature = torch.ones(2, 3, requires_grad=True)
    hint_loss(feature, torch.ones(2, 3), reduction).backward()
    assert feature.grad.tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    'loss, arguments',
    [
        (LabelLoss, (torch.zeros(2, 4), torch.tensor([1, 2]))),
        (LogitLoss, (torch.ones(2, 4), torch.eye(4)[:2])),
        (HintLoss, (torch.ones(2, 4), torch.zeros(2, 4))),
    ],
)
def test_weights_scale(loss, arguments):
    one = loss(loss_weight=1.0)(*arguments).item()
    assert one > 0
    assert loss(loss_weight=0.25)(*arguments).item() == pytest.approx(one / 4, rel=1e-6)
    assert loss(loss_weight=0)(*arguments).item() == 0


@pytest.mark.parametrize('weight', [-0.1, float('nan'), float('inf')])
@pytest.mark.parametrize('loss', [LabelLoss, LogitLoss, HintLoss])
def test_bad_weights(loss, weight):
    with pytest.raises(ConfigError, match=f'{loss.__name__}.*weight={weight}'):
        loss(loss_weight=weight)


@pytest.mark.parametrize('temperature', [0, -3, float('nan')])
def test_bad_temperatures(temperature):
    with pytest.raises(ConfigError, match='temperature must be a positive'):
        LogitLoss(temperature=temperature)


def test_unknown_reduction():
    with pytest.raises(ConfigError, match="'sum'.*'mean', 'mmrazor'"):
        HintLoss(reduction='sum')
