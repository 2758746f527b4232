"""Under autocast the network rounds, the losses do not."""

import pytest
import torch

from mmrazor_byot.models.losses import hint_loss, label_loss, logit_loss

HALF = torch.bfloat16


def numbers(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator) * 4


@pytest.mark.parametrize(
    'loss, a, b',
    [
        (label_loss, numbers(16, 10), torch.arange(16) % 10),
        (label_loss, numbers(16, 10), numbers(16, 10).softmax(1)),
        (lambda a, b: logit_loss(a, b, 3.0), numbers(16, 10), numbers(10, 16).T),
        (hint_loss, numbers(16, 64), numbers(64, 16).T),
        (lambda a, b: hint_loss(a, b, 'mmrazor'), numbers(16, 64), numbers(64, 16).T),
        (lambda a, b: hint_loss(a, b, 'mmrazor_broadcast'), numbers(16, 64), numbers(64, 16).T),
    ],
)
def test_losses_are_those_of_float32(loss, a, b):
    """What comes in is rounded; nothing else is."""
    a = a.to(HALF)
    b = b.to(HALF) if b.is_floating_point() else b
    expected = loss(a.double(), b.double() if b.is_floating_point() else b)
    with torch.autocast('cpu', HALF):
        found = loss(a, b)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_squares_do_not_overflow():
    a = torch.full((2, 4), 300.0, dtype=torch.float16)
    assert hint_loss(a, -a).item() == 4 * 600**2


def test_all_terms_of_a_network(build_byot, batch):
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
