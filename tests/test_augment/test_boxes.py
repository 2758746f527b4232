"""Cutout and random erasing: where, how large, with what."""

import numpy as np
import pytest
import torch
from augmented import likely, photographs, same_distribution, share_fits
from mmpretrain.datasets import Cutout, RandomErasing

from mmrazor_byot.augment import BatchCutout, BatchRandomErasing
from mmrazor_byot.augment.boxes import fill_boxes, sides
from mmrazor_byot.errors import ConfigError

N = 20000


def white(n: int, height: int = 12, width: int = 10) -> torch.Tensor:
    return torch.full((n, 3, height, width), 255, dtype=torch.uint8)


def box_of(images: torch.Tensor) -> np.ndarray:
    """Top, left, bottom, right of what is not white, (N, 4)."""
    hole = (images != 255).any(1)
    rows, columns = hole.any(2), hole.any(1)
    ends = [
        (side.byte().argmax(1), side.size(1) - side.flip(1).byte().argmax(1))
        for side in (rows, columns)
    ]
    (top, bottom), (left, right) = ends
    return torch.stack([top, left, bottom, right], 1).numpy()


def test_fill_boxes():
    images = photographs(4, 6, 7)
    boxes = np.array([[0, 0, 6, 7], [1, 2, 3, 7], [5, 6, 6, 7], [2, 2, 2, 2]])
    covered = {k: torch.from_numpy(v) for k, v in sides(boxes, (6, 7)).items()}
    color = torch.tensor([0, 130, 255], dtype=torch.uint8).view(3, 1, 1)
    wanted = images.clone()
    for image, (top, left, bottom, right) in zip(wanted, boxes):
        image[:, top:bottom, left:right] = color
    assert torch.equal(fill_boxes(images, **covered, fill=color), wanted)
    own = photographs(4, 6, 7).flip(0)
    wanted = torch.where(wanted == images, images, own)
    got = fill_boxes(images, **covered, fill=own)
    assert torch.equal(got[0], own[0]) and torch.equal(got[3], images[3])


@pytest.mark.parametrize('shape', [(4, 5), 16])
def test_cutout_places_have_mmcvs_chances(shape):
    """The centre is uniform on (1, H], cut to whole pixels at the top."""
    height, width = np.broadcast_to(shape, 2)
    boxes = box_of(BatchCutout(shape, pad_val=0, prob=1.0)(white(N)))
    for near, far, hole, size in ((0, 2, height, 12), (1, 3, width, 10)):
        start = np.clip(np.arange(1, size + 1) - hole / 2, 0, size - hole / 2)
        # Chance of each start: the centres above that give it.
        edges = np.arange(size + 1) + hole / 2
        edges[0] = 1.0
        chances = np.diff(np.clip(edges, 1, size)) / (size - 1)
        counts = np.bincount(boxes[:, near], minlength=size)
        assert likely(counts[:size], chances), (start, counts)
        wanted = np.minimum(boxes[:, near] + hole, size)
        assert (boxes[:, far] == wanted).all()


def test_cutout_places_are_mmpretrains():
    its, image = Cutout(16, 0, 1.0), white(1, 32, 32)[0].permute(1, 2, 0)
    np.random.seed(0)
    theirs = torch.stack(
        [torch.from_numpy(its(dict(img=image.numpy()))['img']) for _ in range(4000)]
    ).permute(0, 3, 1, 2)
    ours = BatchCutout(16, 0, 1.0)(white(4000, 32, 32))
    for a, b in zip(box_of(ours).T, box_of(theirs).T):
        assert same_distribution(a, b)


def test_cutout_color_and_chance():
    got = BatchCutout(3, pad_val=(1, 2, 3), prob=0.3)(white(N))
    hole = got[:, 0] == 1
    assert share_fits(hole.any(2).any(1), 0.3)
    assert (got.permute(0, 2, 3, 1)[hole] == torch.tensor([1, 2, 3])).all()
    assert (got.permute(0, 2, 3, 1)[~hole] == 255).all()


@pytest.mark.parametrize(
    'settings',
    [{}, dict(min_area_ratio=0.1, max_area_ratio=0.2, aspect_range=0.5), dict(max_area_ratio=1.0)],
)
def test_erasing_places_are_mmpretrains(settings):
    its = RandomErasing(1.0, **settings)
    np.random.seed(0)
    theirs = np.array([its.random_patch(32, 24) for _ in range(6000)])
    torch.manual_seed(2)
    boxes = box_of(BatchRandomErasing(1.0, **settings)(white(6000, 32, 24)))
    shape = boxes[:, 2:] - boxes[:, :2]
    ours = np.hstack([boxes[:, :2], shape])
    for a, b in zip(ours.T, theirs.T):
        assert same_distribution(a, b)
    assert same_distribution(shape.prod(1), theirs[:, 2:].prod(1))
    assert same_distribution(shape[:, 0] / shape[:, 1], theirs[:, 2] / theirs[:, 3])


def test_erasing_never_takes_the_last_place():
    """np.random.randint(0, H - h) in mmpretrain leaves it out."""
    boxes = box_of(BatchRandomErasing(1.0, 0.25, 0.25, (1.0, 1.0))(white(N, 8, 8)))
    assert (boxes[:, 2:] - boxes[:, :2] == 4).all()
    assert likely(np.bincount(boxes[:, 0] * 4 + boxes[:, 1]), 1 / 16)


def test_erasing_fills_and_chance():
    got = BatchRandomErasing(0.4, fill_color=(1.9, 2, 3))(white(N, 8, 8))
    hole = got[:, 0] == 1
    assert share_fits(hole.any(2).any(1), 0.4)
    assert (got.permute(0, 2, 3, 1)[hole] == torch.tensor([1, 2, 3])).all()


def test_erasing_with_uniform_noise():
    batch = BatchRandomErasing(1.0, 0.5, 0.5, mode='rand')
    images = torch.zeros(2000, 3, 16, 16, dtype=torch.uint8)
    torch.manual_seed(4)
    got = batch(images)
    torch.manual_seed(4)
    assert torch.equal(got, batch(images))
    pixels = got.permute(0, 2, 3, 1)[(got != 0).any(1)]
    # Noise of three zeros, 1 in 256^3, does not count as erased.
    assert likely(np.bincount(pixels.flatten().numpy()), 1 / 256)


def test_erasing_with_normal_noise():
    batch = BatchRandomErasing(
        1., 1., 1., aspect_range=(1., 1.), mode='rand',
        fill_color=(20, 120, 250), fill_std=(40, 10, 5))  # yapf: disable
    got = batch(white(300, 16, 16)).permute(1, 0, 2, 3).flatten(1).numpy()
    rng = np.random.default_rng(0)
    wanted = rng.normal((20, 120, 250), (40, 10, 5), (20000, 3))
    wanted = np.clip(wanted.astype(np.int32), 0, 255)
    for a, b in zip(got, wanted.T):
        assert same_distribution(a[::4], b)


@pytest.mark.parametrize(
    'make',
    [
        lambda: BatchCutout((1, 2, 3)),
        lambda: BatchCutout(None),
        lambda: BatchRandomErasing(1),
        lambda: BatchRandomErasing(mode='mean'),
        lambda: BatchCutout(3, pad_val=(1, 2)),
    ],
)
def test_bad_settings(make):
    with pytest.raises(ConfigError):
        make()
