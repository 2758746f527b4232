"""TrivialAugment: torchvision's space, chances and, closely, its pixels."""

import numpy as np
import pytest
import torch
from augmented import likely, photographs, share_fits
from torchvision.transforms import v2

from mmrazor_byot.augment import BatchTrivialAugment
from mmrazor_byot.augment.base import take_steps
from mmrazor_byot.augment.op_table import Draw
from mmrazor_byot.augment.ops import Op
from mmrazor_byot.errors import ConfigError

WIDE = v2.TrivialAugmentWide()
SPACE = WIDE._AUGMENTATION_SPACE
NAMES = list(SPACE)
N = 40000


def magnitudes(name: str) -> np.ndarray:
    """torchvision's, (31,); zeros for operations without."""
    values = SPACE[name][0](31, 32, 32)
    return np.zeros(31) if values is None else values.double().numpy()


def test_operations_and_magnitudes_come_alike():
    (draw,) = BatchTrivialAugment().sample(N).turns()
    assert likely(np.bincount(draw.op // 31), 1 / 14)
    assert likely(np.bincount(draw.op), 1 / (14 * 31))
    assert draw.done.all()


@pytest.mark.parametrize('place', range(14), ids=NAMES)
def test_magnitudes_are_torchvisions(place):
    name = NAMES[place]
    (draw,) = BatchTrivialAugment().sample(N).turns()
    here = draw.op // 31 == place
    size, bins = abs(draw.magnitude[here]), draw.op[here] % 31
    wanted = magnitudes(name) * (255 if name == 'Solarize' else 1)
    assert np.allclose(size, wanted[bins], atol=1e-4)
    signed = SPACE[name][1]
    moved = size > 0
    if signed:
        assert share_fits(draw.magnitude[here][moved] < 0, 0.5)
    else:
        assert (draw.magnitude[here] >= 0).all()


def compared(place: int, sign: int = 1, size=(32, 32)):
    """All magnitudes of an operation, ours and torchvision's."""
    images, name = photographs(31, *size), NAMES[place]
    bins = np.arange(31)
    batch = BatchTrivialAugment()
    wanted = magnitudes(name)
    op = place * 31 + bins
    magnitude = sign * Op(*batch.table.numbers).low[op]
    draw = Draw(op[None], bins[None] >= 0, magnitude[None])
    ours = take_steps(images, batch.plan(draw, tuple(images.shape)))
    theirs = torch.stack(
        [
            WIDE._apply_image_or_video_transform(
                image, name, float(sign * value), WIDE.interpolation, WIDE._fill
            )
            for image, value in zip(images, wanted)
        ]
    )
    return ours.int(), theirs.int()


@pytest.mark.parametrize(
    'name',
    [
        'Identity',
        'Posterize',
        'Solarize',
        'TranslateX',
        'TranslateY',
        'Brightness',
        'Color',
        'Contrast',
        'AutoContrast',
        'Equalize',
    ],
)
@pytest.mark.parametrize('sign', [1, -1])
def test_pixels_are_torchvisions(name, sign):
    if sign < 0 and not SPACE[name][1]:
        return
    ours, theirs = compared(NAMES.index(name), sign)
    apart = (ours - theirs).abs()
    if name in ('Brightness', 'Color', 'Contrast', 'AutoContrast'):
        # They round grey values and answers down; MMCV to the nearest.
        assert apart.max() <= 2 and (apart > 1).float().mean() < 0.1
    else:
        assert apart.max() == 0


@pytest.mark.parametrize('sign', [1, -1])
def test_sharpness_is_torchvisions_inside(sign):
    ours, theirs = compared(NAMES.index('Sharpness'), sign)
    apart = (ours - theirs).abs()[:, :, 1:-1, 1:-1]
    assert apart.max() <= 1


@pytest.mark.parametrize('name', ['ShearX', 'ShearY', 'Rotate'])
@pytest.mark.parametrize('size', [(32, 32), (40, 24)])
def test_warps_are_torchvisions_the_other_way_round(name, size):
    """Signs come alike, so which is positive does not matter.

    Pixels that lie between two may go to either.
    """
    place = NAMES.index(name)
    ways = []
    for sign in (1, -1):
        ours, theirs = compared(place, sign, size)
        other = compared(place, -sign, size)[1]
        ways.append(min((ours != wanted).any(1).float().mean() for wanted in (theirs, other)))
    assert max(ways) < 0.02


@pytest.mark.parametrize(
    'settings',
    [
        dict(num_magnitude_bins=1),
        dict(interpolation='lanczos'),
        dict(fill=(1, 2)),
        dict(channel_order='grb'),
    ],
)
def test_bad_settings(settings):
    with pytest.raises(ConfigError):
        BatchTrivialAugment(**settings)


def test_fill_and_bins():
    batch = BatchTrivialAugment(11, 'bilinear', fill=(7, 8, 9))
    images = torch.full((3000, 3, 8, 8), 100, dtype=torch.uint8)
    (draw,) = batch.sample(3000).turns()
    assert draw.op.max() == 14 * 11 - 1
    torch.manual_seed(0)
    corner = batch(images)[:, :, 0, 0]
    filled = (corner == torch.tensor([7, 8, 9])).all(1)
    # A shift to the right or down by 3.2 pixels or more, each 1 in 28.
    assert filled.float().mean() > 2 / 28 * 10 / 11 * 0.8
    assert torch.equal(filled, corner[:, 0] == 7)
