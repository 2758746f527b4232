"""Every loss against numbers worked out without it."""

import math

import numpy as np
import pytest
import torch
from by_definition import softmax
from mmrazor.models.losses import KLDivergence, L2Loss

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.losses import HintLoss, LabelLoss, LogitLoss

HALF = torch.bfloat16
# softmax of (ln 1, ln 3) is (1/4, 3/4)
QUARTERS = [0.0, math.log(3)]


def numbers(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator) * 4


@pytest.mark.parametrize('target', [[0, 1], [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]])
def test_label_loss_by_hand(target):
    loss = LabelLoss()(torch.tensor([QUARTERS, QUARTERS]), torch.tensor(target))
    assert loss.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, abs=1e-6)


def test_logit_loss_by_hand():
    # Teacher (1/2, 1/2), student (1/4, 3/4) at T = 1.
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    loss = LogitLoss(1)(torch.tensor([QUARTERS]), torch.zeros(1, 2))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('temperature', [0.5, 1.0, 3.0, 10.0])
def test_logit_loss_in_numpy(temperature):
    student, teacher = np.random.default_rng(0).normal(size=(2, 6, 7)) * 3
    p = softmax(teacher / temperature)
    q = softmax(student / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()
    loss = LogitLoss(temperature)(torch.tensor(student), torch.tensor(teacher))
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_logit_loss_is_finite_for_confident_teachers():
    student = torch.zeros(1, 3, requires_grad=True)
    loss = LogitLoss(1)(student, torch.tensor([[1e4, 0.0, 0.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3), rel=1e-5)
    assert torch.isfinite(student.grad).all()


def test_hint_loss_by_hand():
    feature = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    teacher = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert HintLoss()(feature, teacher).item() == (5 + 25) / 2
    mmrazors = HintLoss(reduction='mmrazor')(feature, teacher)
    assert mmrazors.item() == pytest.approx(math.sqrt(30), rel=1e-6)


@pytest.mark.parametrize(
    'ours, theirs, shape, broadcast',
    [
        (LogitLoss(1, 0.3), KLDivergence(tau=1, loss_weight=0.3), (6, 7), False),
        (LogitLoss(3, 0.3), KLDivergence(tau=3, loss_weight=0.3), (6, 7), False),
        (HintLoss(0.03, 'mmrazor'), L2Loss(0.03, False, dist=True), (16, 32), False),
        (HintLoss(0.03, 'mmrazor_broadcast'), L2Loss(0.03, False, dist=True), (6, 32), True),
    ],
)
def test_equal_to_mmrazors(ours, theirs, shape, broadcast):
    student, teacher = numbers(2, *shape) + torch.tensor([[[0.0]], [[3.0]]])
    student.requires_grad_()
    one = ours(student, teacher)
    # MMRazor's BYOT takes the teacher's feature before it is flattened.
    two = theirs(student, teacher[..., None, None] if broadcast else teacher)
    assert one.item() == pytest.approx(two.item(), rel=1e-5)
    gradients = (torch.autograd.grad(loss, student)[0] for loss in (one, two))
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('reduction', ['mmrazor', 'mmrazor_broadcast'])
def test_mmrazor_reduction_has_a_gradient_where_features_agree(reduction):
    feature = torch.ones(2, 3, requires_grad=True)
    HintLoss(reduction=reduction)(feature, torch.ones(2, 3)).backward()
    assert feature.grad.tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    'loss, arguments',
    [
        (LabelLoss, (torch.zeros(2, 4), torch.tensor([1, 2]))),
        (LogitLoss, (torch.ones(2, 4), torch.eye(4)[:2])),
        (HintLoss, (torch.ones(2, 4), torch.zeros(2, 4))),
    ],
)
def test_weights(loss, arguments):
    one = loss(loss_weight=1.0)(*arguments).item()
    assert one > 0
    assert loss(loss_weight=0.25)(*arguments).item() == pytest.approx(one / 4, rel=1e-6)
    assert loss(loss_weight=0)(*arguments).item() == 0
    for weight in (-0.1, float('nan'), float('inf')):
        with pytest.raises(ConfigError, match=f'{loss.__name__}.*weight={weight}'):
            loss(loss_weight=weight)


@pytest.mark.parametrize(
    'build, message',
    [
        (lambda: LogitLoss(temperature=0), 'temperature=0'),
        (lambda: LogitLoss(temperature=float('nan')), 'temperature=nan'),
        (lambda: HintLoss(reduction='sum'), "'sum'.*'mean', 'mmrazor'"),
    ],
)
def test_bad_settings(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


@pytest.mark.parametrize(
    'loss, a, b',
    [
        (LabelLoss(), numbers(16, 10), torch.arange(16) % 10),
        (LabelLoss(), numbers(16, 10), numbers(16, 10).softmax(1)),
        (LogitLoss(), numbers(16, 10), numbers(10, 16).T),
        (HintLoss(), numbers(16, 64), numbers(64, 16).T),
        (HintLoss(reduction='mmrazor'), numbers(16, 64), numbers(64, 16).T),
        (HintLoss(reduction='mmrazor_broadcast'), numbers(16, 64), numbers(64, 16).T),
    ],
)
def test_autocast_rounds_what_comes_in_and_nothing_else(loss, a, b):
    a = a.to(HALF)
    b = b.to(HALF) if b.is_floating_point() else b
    expected = loss(a.double(), b.double() if b.is_floating_point() else b)
    with torch.autocast('cpu', HALF):
        found = loss(a, b)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    'reduction, expected', [('mean', 300.0**2 * 2048), ('mmrazor', (300.0**2 * 2048 * 4) ** 0.5)]
)
def test_squares_do_not_overflow_half_precision(reduction, expected):
    feature = torch.full((4, 2048), 300.0, dtype=torch.float16)
    loss = HintLoss(reduction=reduction)(feature, torch.zeros_like(feature))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_all_terms_of_a_network_under_autocast(build_byot, batch):
    """8 bits of each number: about a percent."""
    images, samples = batch(8)
    model = build_byot().train()
    expected = model.loss(images, samples)
    with torch.autocast('cpu', HALF):
        assert model(images)[0].dtype == HALF
        found = model.loss(images, samples)
    for name, value in expected.items():
        assert found[name].dtype == torch.float32
        # Where a term is next to nothing, so is what rounding adds to it.
        assert found[name].item() == pytest.approx(value.item(), rel=0.02, abs=2e-3), name
    assert any(found[name] != expected[name] for name in found)
