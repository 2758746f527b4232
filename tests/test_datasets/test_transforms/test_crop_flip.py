"""Crops and flips: pixels as MMCV's, random places and directions."""

import mmcv
import numpy as np
import pytest
import torch
from augmented import likely, photographs, probability_fits

from mmrazor_byot.datasets.transforms import BatchRandomCrop, BatchRandomFlip
from mmrazor_byot.errors import ConfigError, DatasetError


def numbered(n: int, height: int, width: int) -> torch.Tensor:
    """Images that tell where a pixel came from: row, column, 200."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    image = torch.stack([y, x, torch.full_like(x, 200)])
    return image.byte().expand(n, -1, -1, -1)


def corners(images: torch.Tensor, padding: int = 0) -> np.ndarray:
    """Where the crops of numbered images, not at the border, came from."""
    middle = images[:, :2, 8, 8].int() - 8 + padding
    return middle.numpy()


@pytest.mark.parametrize('mode', ['constant', 'reflect', 'edge', 'symmetric'])
@pytest.mark.parametrize('pad_val', [0, (9, 8, 7), 5])
def test_crop_takes_the_window_mmcv_takes(mode, pad_val):
    images = photographs(6, 20, 24)
    batch = BatchRandomCrop((20, 22), 4, pad_val=pad_val, padding_mode=mode)
    torch.manual_seed(3)
    ours = batch(images)
    torch.manual_seed(3)
    places = torch.rand(6, 2, dtype=torch.float64) * torch.tensor([9, 11])
    for image, (top, left), got in zip(images, places.long().tolist(), ours):
        wide = mmcv.impad(
            image.permute(1, 2, 0).numpy(), padding=4, pad_val=pad_val, padding_mode=mode
        )
        wanted = wide[top : top + 20, left : left + 22]
        assert np.array_equal(got.permute(1, 2, 0).numpy(), wanted)


def test_crops_come_from_everywhere_alike():
    """From the 9 x 9 places of mmpretrain's ``RandomCrop``, to both ends."""
    images = numbered(20000, 32, 32)
    batch = BatchRandomCrop(32, padding=4)
    place = corners(batch(images), 4)
    assert likely(np.bincount(place[:, 0] * 9 + place[:, 1]), 1 / 81)


def test_crop_without_padding_and_with_padding_if_needed():
    batch = BatchRandomCrop((16, 32))
    place = corners(batch(numbered(4000, 20, 32)))
    assert likely(np.bincount(place[:, 0]), 1 / 5)
    assert (place[:, 1] == 0).all()
    small = numbered(2, 13, 32)
    padded = BatchRandomCrop(16, pad_if_needed=True)(small)
    # Two rows on both sides: the crop is one of two.
    assert padded.shape == (2, 3, 16, 16)
    assert set((padded[:, 2, :, 0] == 0).sum(1).tolist()) == {3}
    with pytest.raises(DatasetError, match='13 x 32 are smaller'):
        BatchRandomCrop(16)(small)


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_flip_directions(direction):
    images = photographs(4, 5, 6)
    for image, got in zip(images, BatchRandomFlip(1.0, direction)(images)):
        wanted = mmcv.imflip(image.permute(1, 2, 0).numpy(), direction)
        assert np.array_equal(got.permute(1, 2, 0).numpy(), wanted)


@pytest.mark.parametrize(
    'prob, direction, probabilities',
    [
        (0.3, 'vertical', dict(none=0.7, vertical=0.3)),
        (0.5, ['horizontal', 'diagonal'], dict(none=0.5, horizontal=0.25, diagonal=0.25)),
        ([0.2, 0.5], ['vertical', 'horizontal'], dict(none=0.3, vertical=0.2, horizontal=0.5)),
        (1.0, 'horizontal', dict(horizontal=1.0)),
    ],
)
def test_flip_probabilities(prob, direction, probabilities):
    got = BatchRandomFlip(prob, direction)(numbered(20000, 4, 4))
    seen = dict(none=(0, 0), horizontal=(0, 3), vertical=(3, 0), diagonal=(3, 3))
    first = got[:, :2, 0, 0].numpy()
    for name, corner in seen.items():
        happened = (first == corner).all(1)
        assert probability_fits(happened, probabilities.get(name, 0.0)), name


@pytest.mark.parametrize(
    'make',
    [
        lambda: BatchRandomCrop(0),
        lambda: BatchRandomCrop(8, padding=(1, 2, 3)),
        lambda: BatchRandomCrop(8, padding_mode='mirror'),
        lambda: BatchRandomFlip(1.5),
        lambda: BatchRandomFlip(0.5, 'up'),
    ],
)
def test_bad_settings(make):
    with pytest.raises(ConfigError, match='refused its settings'):
        make()


def test_only_bytes_before_normalisation():
    with pytest.raises(DatasetError, match='before the normalisation'):
        BatchRandomFlip(0.5)(torch.rand(2, 3, 8, 8))
