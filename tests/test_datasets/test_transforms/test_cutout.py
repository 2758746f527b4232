"""Cutout: where, how large, with what."""

import numpy as np
import pytest
import torch
from augmented import likely, photographs, probability_fits, same_distribution
from mmpretrain.datasets import Cutout

from mmrazor_byot.datasets.transforms import BatchCutout
from mmrazor_byot.datasets.transforms.cutout import cut
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


def test_boxes_and_colors_by_hand():
    """The centre is H - place * (H - 1), the start rounded down; the border cuts the box."""
    images = photographs(4, 6, 7)
    places = np.array([[1, 1], [0.4, 0.5], [0, 0], [0.5, 0.5]])
    shape = np.array([[12, 14], [2, 3], [2, 2], [0, 0]])
    color = np.random.default_rng(0).integers(0, 256, (4, 3), np.uint8)
    boxes = [(0, 0, 6, 7), (3, 2, 5, 5), (5, 6, 6, 7), (0, 0, 0, 0)]
    wanted = images.clone()
    for image, (top, left, bottom, right), fill in zip(wanted, boxes, color):
        image[:, top:bottom, left:right] = torch.from_numpy(fill).view(3, 1, 1)
    assert torch.equal(cut(images, places, shape, color), wanted)


@pytest.mark.parametrize('shape', [(4, 5), 16])
def test_cutout_places_have_mmcvs_probabilities(shape):
    """The centre is uniform on (1, H], cut to whole pixels at the top."""
    height, width = np.broadcast_to(shape, 2)
    boxes = box_of(BatchCutout(shape, pad_val=0, prob=1.0)(white(N)))
    for near, far, hole, size in ((0, 2, height, 12), (1, 3, width, 10)):
        start = np.clip(np.arange(1, size + 1) - hole / 2, 0, size - hole / 2)
        # Probability of each start: the centres above that give it.
        edges = np.arange(size + 1) + hole / 2
        edges[0] = 1.0
        probabilities = np.diff(np.clip(edges, 1, size)) / (size - 1)
        counts = np.bincount(boxes[:, near], minlength=size)
        assert likely(counts[:size], probabilities), (start, counts)
        wanted = np.minimum(boxes[:, near] + hole, size)
        assert (boxes[:, far] == wanted).all()


def test_cutout_places_are_mmpretrains():
    reference, image = Cutout(16, 0, 1.0), white(1, 32, 32)[0].permute(1, 2, 0)
    np.random.seed(0)
    theirs = torch.stack(
        [torch.from_numpy(reference(dict(img=image.numpy()))['img']) for _ in range(4000)]
    ).permute(0, 3, 1, 2)
    ours = BatchCutout(16, 0, 1.0)(white(4000, 32, 32))
    for a, b in zip(box_of(ours).T, box_of(theirs).T):
        assert same_distribution(a, b)


def test_cutout_color_and_probability():
    got = BatchCutout(3, pad_val=(1, 2, 3), prob=0.3)(white(N))
    hole = got[:, 0] == 1
    assert probability_fits(hole.any(2).any(1), 0.3)
    assert (got.permute(0, 2, 3, 1)[hole] == torch.tensor([1, 2, 3])).all()
    assert (got.permute(0, 2, 3, 1)[~hole] == 255).all()


@pytest.mark.parametrize(
    'make',
    [
        lambda: BatchCutout((1, 2, 3)),
        lambda: BatchCutout(None),
        lambda: BatchCutout(3, pad_val=(1, 2)),
    ],
)
def test_bad_settings(make):
    with pytest.raises(ConfigError):
        make()
