"""How often operations come, and with what magnitudes."""

import numpy as np
import pytest
import torch
from augmented import likely, photographs, probability_fits, same_distribution
from mmpretrain.datasets import RandAugment
from mmpretrain.datasets.transforms.auto_augment import RANDAUG_POLICIES

from mmrazor_byot.datasets.transforms import BatchAutoAugment, BatchRandAugment
from mmrazor_byot.datasets.transforms.auto_augment import SUPPORTED
from mmrazor_byot.errors import ConfigError

POLICIES = [
    [dict(type='Invert', prob=0.1), dict(type='Contrast', magnitude=0.5,
                                         prob=0.2)],
    [dict(type='Rotate', angle=10., prob=0.7, random_negative_prob=0.25)],
    [dict(type='Equalize', prob=0.0), dict(type='AutoContrast', prob=1.),
     dict(type='Solarize', thr=64.)],
]  # yapf: disable
N = 40000


def test_done_or_not_is_drawn_for_each_operation():
    """Two operations of one sub-policy do not come together."""
    policy = [[dict(type='Invert', prob=0.3), dict(type='Equalize', prob=0.6)]]
    first, second = BatchAutoAugment(policy).sample(N)
    assert probability_fits(first.applied & second.applied, 0.18)


def test_sub_policies_come_alike_and_operations_by_their_chance():
    batch = BatchAutoAugment(POLICIES)
    first, second, third = batch.sample(N)
    rows = set(zip(first.op.tolist(), second.op.tolist(), third.op.tolist()))
    assert rows == {(1, 2, 0), (3, 0, 0), (4, 5, 6)}
    # 0 is nothing, then the operations in the order of the policies.
    assert likely(np.bincount(first.op)[[1, 3, 4]], 1 / 3)
    assert likely(np.bincount(second.op)[[0, 2, 5]], 1 / 3)
    assert likely(np.bincount(third.op)[[0, 6]], [2 / 3, 1 / 3])
    for draw, op, probability in (
        (first, 1, 0.1),
        (second, 2, 0.2),
        (first, 3, 0.7),
        (first, 4, 0),
        (second, 5, 1),
        (third, 6, 0.5),
    ):
        assert probability_fits(draw.applied[draw.op == op], probability), op


def test_signs():
    policy = [
        [dict(type='Rotate', angle=10.0, prob=1.0, random_negative_prob=0.25)],
        [dict(type='Shear', magnitude=0.2, prob=1.0)],
    ]
    (draw,) = BatchAutoAugment(policy).sample(N)
    turned, sheared = draw.magnitude[draw.op == 1], draw.magnitude[draw.op == 2]
    assert set(turned) == {-10.0, 10.0} and set(sheared) == {-0.2, 0.2}
    assert probability_fits(turned < 0, 0.25)
    assert probability_fits(sheared < 0, 0.5)


def test_rand_augment_chooses_alike_and_again():
    batch = BatchRandAugment('timm_increasing', 2, 6)
    first, second = batch.sample(N)
    count = len(RANDAUG_POLICIES['timm_increasing'])
    for draw in (first, second):
        assert likely(np.bincount(draw.op), 1 / count)
    assert probability_fits(first.op == second.op, 1 / count)
    assert probability_fits(first.applied, 0.5)  # mmpretrain's default


@pytest.mark.parametrize('std', [0.0, 0.5, 3.0, 'inf'])
def test_magnitudes_are_distributed_as_mmpretrains(std):
    policies = [
        dict(type='Brightness', magnitude_range=(0, 0.9)),
        dict(type='Posterize', magnitude_range=(4, 0)),
    ]
    ours = BatchRandAugment(policies, 1, 9, magnitude_std=std)
    theirs = RandAugment(policies, 1, 9, magnitude_std=std)
    np.random.seed(0)
    bright, bits = theirs.transforms
    (draw,) = ours.sample(8000)
    for op, wanted in (
        (0, [bright.random_negative(bright.random_magnitude()) for _ in range(4000)]),
        (1, [bits.random_magnitude() for _ in range(4000)]),
    ):
        got = draw.magnitude[draw.op == op]
        if std == 0.0:
            assert set(np.round(got, 9)) == set(np.round(wanted, 9))
        else:
            assert same_distribution(got, wanted)


def test_noise_stays_on_the_scale():
    """At level 9 of 10 with deviation 3, 37 % are cut to the highest."""
    policies = [dict(type='Solarize', magnitude_range=(256, 0))]
    batch = BatchRandAugment(policies, 1, 9, magnitude_std=3.0)
    (draw,) = batch.sample(N)
    assert probability_fits(draw.magnitude == 0.0, 0.36944134)  # 1 - Phi(1 / 3)
    assert draw.magnitude.max() <= 256


def test_cutout_within_a_policy():
    policy = [[dict(type='Cutout', shape=(2, 4), pad_val=(1, 2, 3), prob=1.0)]]
    images = torch.full((200, 3, 9, 9), 200, dtype=torch.uint8)
    holes = (BatchAutoAugment(policy)(images) == torch.tensor([1, 2, 3])[:, None, None]).all(1)
    sizes = holes.sum((1, 2))
    assert sizes.max() == 8 and sizes.min() >= 1


def test_a_seed_says_what_comes():
    images, batch = photographs(64), BatchRandAugment('timm_increasing', 2, 7)
    torch.manual_seed(5)
    once = batch(images), batch(images)
    torch.manual_seed(5)
    again = batch(images), batch(images)
    assert torch.equal(once[0], again[0]) and torch.equal(once[1], again[1])
    assert not torch.equal(*once)


@pytest.mark.parametrize(
    'policies, message',
    [
        ('cifar11', 'Invalid policies'),
        ([[dict(type='GaussianBlur', radius=1.0)]], 'GaussianBlur'),
        ([[dict(type='Rotate', angle=1.0, interpolation='lanczos')]], 'lanczos'),
        ([[dict(type='Shear', prob=1.0)]], 'only one of'),
        ([[dict(type='Tilt')]], 'Tilt'),
    ],
)
def test_bad_policies(policies, message):
    with pytest.raises(ConfigError, match=message):
        BatchAutoAugment(policies)


def test_bad_level():
    with pytest.raises(ConfigError, match='magnitude_level'):
        BatchRandAugment('timm_increasing', 2, -1)


def test_every_operation_of_mmpretrain_is_there_but_blur():
    """Also those that a later version may add are refused by name."""
    from mmpretrain.datasets.transforms import auto_augment

    names = {cls.__name__ for cls in auto_augment.BaseAugTransform.__subclasses__()}
    assert names - set(SUPPORTED) == {'GaussianBlur'}
