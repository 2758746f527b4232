"""For the same draws, every pixel as mmpretrain's per-image transforms."""

import cv2
import pytest
import torch
from augmented import fixed, per_image, photographs
from mmengine.config import Config
from mmpretrain.datasets.transforms.auto_augment import (
    AUTOAUG_POLICIES,
    RANDAUG_POLICIES,
)
from run import ROOT

from mmrazor_byot.datasets.transforms import BatchAutoAugment, BatchRandAugment

#: OpenCV 4 rounds coordinates of a warp to 1/1024 of a pixel, or to 1/32, and blends without a
#: fused multiply-add.
OPENCV_5 = int(cv2.__version__.split('.')[0]) >= 5
BLENDS = ('Contrast', 'ColorTransform', 'Sharpness')

CIFAR = Config.fromfile(ROOT / 'configs/_base_/datasets/cifar100_bs16.py')
CIFAR_POLICIES = CIFAR.train_pipeline[2].policies
TONE = [
    dict(type='AutoContrast'),
    dict(type='Invert'),
    dict(type='Equalize'),
    dict(type='Solarize', magnitude_range=(0, 256)),
    dict(type='SolarizeAdd', magnitude_range=(0, 110)),
    dict(type='SolarizeAdd', magnitude_range=(0, 200), thr=70.5),
    dict(type='Posterize', magnitude_range=(8, 0)),
    dict(type='Contrast', magnitude_range=(0, 0.95)),
    dict(type='ColorTransform', magnitude_range=(0, 0.95)),
    dict(type='Brightness', magnitude_range=(0, 0.95)),
    dict(type='Sharpness', magnitude_range=(0, 0.95)),
]
WARPS = [
    dict(type='Rotate', magnitude_range=(0, 180)),
    dict(type='Rotate', magnitude_range=(0, 30), pad_val=(1, 2, 3), scale=0.7),
    dict(type='Rotate', magnitude_range=(0, 90), center=(3.3, 10.0)),
    dict(type='Shear', magnitude_range=(0, 0.6), pad_val=[9, 8, 7]),
    dict(type='Shear', magnitude_range=(0, 0.6), direction='vertical'),
    dict(type='Translate', magnitude_range=(0, 1.1)),
    dict(type='Translate', magnitude_range=(0, 0.6), direction='vertical'),
]


def compared(images: torch.Tensor, batch, configs: list):
    """Images through the batch, and each alone with the same magnitudes."""
    drawn = batch.sample(len(images))
    ours = batch.apply(images, drawn)
    chains = [
        [
            fixed(configs[draw.op[i]], draw.magnitude[i])
            for draw in drawn
            if configs[draw.op[i]] and draw.applied[i]
        ]
        for i in range(len(images))
    ]
    assert sum(map(len, chains)) > len(images) / 2
    return ours, per_image(images, chains)


def both(images: torch.Tensor, policies: list):
    """Images through AutoAugment, see :func:`compared`."""
    configs = [None, *(config for policy in policies for config in policy)]
    return compared(images, BatchAutoAugment(policies), configs)


def always(config: dict, **settings) -> list:
    """A policy that always does it, at a random magnitude."""
    if 'magnitude_range' in config:
        settings['magnitude_std'] = 'inf'
    return [[dict(config, prob=1.0, **settings)]]


@pytest.mark.parametrize('config', TONE, ids=str)
@pytest.mark.parametrize('size', [(32, 32), (19, 26)])
def test_tone_is_equal(config, size):
    images = photographs(64, *size)
    ours, theirs = both(images, always(config))
    if OPENCV_5 or config['type'] not in BLENDS:
        assert torch.equal(ours, theirs)
    apart = (ours.int() - theirs.int()).abs()
    assert apart.max() <= 1 and (apart > 0).float().mean() < 0.01
    assert not torch.equal(ours, images)


@pytest.mark.parametrize('config', WARPS, ids=str)
@pytest.mark.parametrize('size', [(32, 32), (19, 26), (96, 80)])
def test_nearest_warps_are_equal(config, size):
    images = photographs(48, *size)
    ours, theirs = both(images, always(config, interpolation='nearest'))
    wrong = (ours != theirs).any(1).float().mean()
    assert wrong == 0 if OPENCV_5 else wrong < 0.004
    assert (ours != images).float().mean() > 0.2


@pytest.mark.parametrize('config', WARPS, ids=str)
@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic', 'area'])
def test_smooth_warps_are_within_a_gray_level(config, interpolation):
    images = photographs(40, 32, 27)
    ours, theirs = both(images, always(config, interpolation=interpolation))
    apart = (ours.int() - theirs.int()).abs()
    if OPENCV_5:
        assert apart.max() <= 1
        assert (apart > 0).float().mean() < 0.002
    else:
        assert apart.float().mean() < 2.0


@pytest.mark.parametrize(
    'config',
    [
        dict(type='Rotate', angle=8.5, interpolation='bicubic'),
        dict(type='Shear', magnitude=0.13, direction='vertical'),
    ],
    ids=str,
)
def test_warps_of_large_images(config):
    images = photographs(4, 224, 224)
    ours, theirs = both(images, always(config))
    apart = (ours.int() - theirs.int()).abs()
    assert apart.max() <= 1 if OPENCV_5 else apart.float().mean() < 2.0


@pytest.mark.skipif(not OPENCV_5, reason='OpenCV 5')
@pytest.mark.parametrize('name', ['cifar', 'imagenet'])
def test_whole_policies_are_equal(name):
    """One operation after the other; no shears between pixels, which may be 1 off."""
    policies = CIFAR_POLICIES if name == 'cifar' else AUTOAUG_POLICIES['imagenet']
    whole = dict(interpolation='nearest')
    warps = ('Shear', 'Rotate')
    policies = [[{**op, **(whole if op['type'] in warps else {})} for op in p] for p in policies]
    ours, theirs = both(photographs(500), policies)
    assert torch.equal(ours, theirs)


def test_the_recipe_takes_its_policies_as_they_are():
    """As they are in the config, with its scopes and bicubic shears."""
    assert all(op['_scope_'] == 'mmpretrain' for op in CIFAR_POLICIES[0])
    ours, theirs = both(photographs(300), CIFAR_POLICIES)
    # Shears may be 1 off, and Posterize to 5 bits makes 8 of that.
    wrong = (ours != theirs).float().mean()
    assert wrong < 1e-3 if OPENCV_5 else wrong < 0.05


def test_named_policies():
    images = photographs(16)
    torch.manual_seed(1)
    named = BatchAutoAugment('imagenet')(images)
    torch.manual_seed(1)
    given = BatchAutoAugment(AUTOAUG_POLICIES['imagenet'])(images)
    assert torch.equal(named, given)


def test_rand_augment_is_equal():
    """Three operations a sample; hparams reach those that take them."""
    policies = RANDAUG_POLICIES['timm_increasing']
    hparams = dict(pad_val=[5, 6, 7], interpolation='nearest')
    batch = BatchRandAugment(policies, 3, 7, magnitude_std=0.5, hparams=hparams)
    configs = [
        dict(p, **hparams) if p['type'] in ('Rotate', 'Shear', 'Translate') else p for p in policies
    ]
    ours, theirs = compared(photographs(200), batch, configs)
    wrong = (ours != theirs).any(1).float().mean()
    assert wrong == 0 if OPENCV_5 else wrong < 0.02
