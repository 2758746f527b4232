"""Mixup and CutMix: each sample as mmpretrain would mix it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from augmented import likely, same_distribution, share_fits
from mmpretrain.models.utils.batch_augments import CutMix, Mixup

from mmrazor_byot.datasets.transforms import BatchCutMix, BatchMixChoice, BatchMixup
from mmrazor_byot.datasets.transforms.mix import Mixing, cutmix_boxes, mix
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import TRANSFORMS

N = 4000


def batch(n: int = 6, size=(8, 6), classes: int = 5):
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(n, 3, *size, generator=generator)
    labels = torch.randint(classes, (n,), generator=generator)
    return images, F.one_hot(labels, classes).float()


def mixed(images, scores, partner, drawn: Mixing):
    """By the pure function, with these draws."""
    arrays = drawn.arrays(tuple(images.shape[2:]))
    return mix(images, scores, partner, **{k: torch.from_numpy(v) for k, v in arrays.items()})


def theirs(kind, weight: float, partner: torch.Tensor, monkeypatch, box=None):
    """mmpretrain's batch augment with its draws replaced by ours."""
    monkeypatch.setattr(np.random, 'beta', lambda a, b: weight)
    monkeypatch.setattr(torch, 'randperm', lambda n: partner)
    reference = kind(alpha=1.0)
    if box is not None:
        centers = iter(box)
        monkeypatch.setattr(np.random, 'randint', lambda low, high, size=None: next(centers))
    images, scores = batch()
    return reference(images, scores)


def test_mixup_of_each_sample_is_mmpretrains(monkeypatch):
    images, scores = batch()
    partner = torch.tensor([1, 2, 3, 4, 5, 0])
    weights = torch.tensor([0.0, 0.1, 0.35, 0.6, 0.9, 1.0])
    drawn = Mixing(weights.numpy(), pixel=weights.numpy())
    ours = mixed(images, scores, partner, drawn)
    for i, weight in enumerate(weights.tolist()):
        wanted = theirs(Mixup, weight, partner, monkeypatch)
        assert torch.allclose(ours[0][i], wanted[0][i], atol=1e-6)
        assert torch.allclose(ours[1][i], wanted[1][i], atol=1e-6)


def test_cutmix_of_each_sample_is_mmpretrains(monkeypatch):
    images, scores = batch()
    partner = torch.tensor([5, 0, 1, 2, 3, 4])
    weights = np.array([0.0, 0.1, 0.35, 0.6, 0.9, 1.0])
    centers = np.array([[0, 0], [7, 5], [4, 3], [1, 5], [6, 0], [3, 3]])
    boxes = cutmix_boxes(weights, (centers + 0.5) / (8, 6), (8, 6))
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    drawn = Mixing(np.float32(1 - area / 48), boxes=boxes)
    ours = mixed(images, scores, partner, drawn)
    for i in range(6):
        wanted = theirs(CutMix, weights[i], partner, monkeypatch, centers[i])
        assert torch.equal(ours[0][i], wanted[0][i])
        assert torch.allclose(ours[1][i], wanted[1][i], atol=1e-6)


@pytest.mark.parametrize('alpha', [0.2, 1.0])
def test_mixup_weights_are_beta(alpha):
    drawn = BatchMixup(alpha).draw(N, (8, 8))
    rng = np.random.default_rng(0)
    assert np.array_equal(drawn.label, drawn.pixel) and drawn.boxes is None
    assert same_distribution(drawn.label, rng.beta(alpha, alpha, N))


@pytest.mark.parametrize('alpha', [0.2, 1.0])
def test_cutmix_boxes_are_mmpretrains(alpha):
    reference = CutMix(alpha)
    np.random.seed(0)
    wanted = [
        reference.cutmix_bbox_and_lam((32, 24), np.random.beta(alpha, alpha)) for _ in range(N)
    ]
    drawn = BatchCutMix(alpha).draw(N, (32, 24))
    top, bottom, left, right = np.array([box for box, _ in wanted]).T
    for a, b in zip(drawn.boxes.T, (top, left, bottom, right)):
        assert same_distribution(a, b)
    shares = np.float32([share for _, share in wanted])
    assert same_distribution(drawn.label, shares)


def test_each_sample_has_its_own_weight_and_a_partner_from_all():
    images, scores = batch(4, classes=4)
    scores = torch.eye(4)
    seen = np.zeros((4, 4), int)
    batch_mix = BatchMixup(1.0)
    for _ in range(1000):
        got = batch_mix(images, scores)[1]
        own = got.diagonal()
        partner = (got - torch.diag(own)).argmax(1)
        # All of its own score left: it was its own partner.
        partner = torch.where(own > 1 - 1e-6, torch.arange(4), partner)
        for i in range(4):
            seen[i, partner[i]] += 1
        others = own[own < 1 - 1e-6]
        assert len(set(others.tolist())) == len(others)
        assert torch.allclose(got.sum(1), torch.ones(4))
    for row in seen:
        assert likely(row, 1 / 4)


@pytest.mark.parametrize('kind', [BatchMixup, BatchCutMix])
def test_chance_of_mixing(kind):
    label = kind(1.0, prob=0.3).draw(N, (64, 64)).label
    # A box may be empty: with both sides below 2 of 64 pixels, 1 in 1,024.
    assert share_fits(label == 1, 0.7 + 0.3 / 1024 * (kind is BatchCutMix))


def test_choice_between_mixes():
    choice = TRANSFORMS.build(
        dict(
            type='mmrazor_byot.BatchMixChoice',
            mixes=[
                dict(type='mmrazor_byot.BatchMixup', alpha=1.0),
                dict(type='mmrazor_byot.BatchCutMix', alpha=1.0),
            ],
            probs=[0.5, 0.2],
        )
    )
    drawn = choice.draw(20000, (64, 64))
    blended, cut = drawn.pixel < 1, (drawn.boxes > 0).any(1)
    assert not (blended & cut).any()
    assert share_fits(blended, 0.5)
    assert share_fits(cut, 0.2 * (1 - 1 / 1024))
    assert np.array_equal(drawn.label[blended], drawn.pixel[blended])
    area = (drawn.boxes[:, 2:] - drawn.boxes[:, :2]).prod(1)
    assert np.allclose(drawn.label[cut], 1 - area[cut] / 4096)
    assert (drawn.label[~blended & ~cut] == 1).all()


def test_choice_mixes_as_its_parts():
    """The same draws through the choice and through one of its mixes."""
    images, scores = batch()
    for kind in (BatchMixup, BatchCutMix):
        one = BatchMixChoice([kind(1.0)], [1.0])
        drawn = one.draw(6, (8, 6))
        partner = torch.randperm(6)
        got = mixed(images, scores, partner, drawn)
        unused = 'boxes' if kind is BatchMixup else 'pixel'
        wanted = mixed(images, scores, partner, drawn._replace(**{unused: None}))
        assert torch.equal(got[0], wanted[0])
        assert torch.equal(got[1], wanted[1])


def test_half_precision_and_inputs_stay():
    images, scores = batch()
    images = images.bfloat16()
    kept = images.clone(), scores.clone()
    got, got_scores = BatchMixChoice([BatchMixup(1.0), BatchCutMix(1.0)])(images, scores)
    assert got.dtype == torch.bfloat16
    assert got_scores.dtype == torch.float32
    assert torch.equal(images, kept[0]) and torch.equal(scores, kept[1])


@pytest.mark.parametrize(
    'make',
    [
        lambda: BatchMixup(0.0),
        lambda: BatchCutMix(1.0, prob=1.1),
        lambda: BatchMixChoice([BatchMixup(1.0)], [0.5, 0.5]),
        lambda: BatchMixChoice([BatchMixup(1.0), BatchCutMix(1.0)], [0.7, 0.5]),
    ],
)
def test_bad_settings(make):
    with pytest.raises(ConfigError):
        make()
