"""scikit-learn's digits, split and enlarged."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets

from mmrazor_byot.datasets import Digits
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import DATASETS

#: Images of each digit in scikit-learn's set, 1,797 in all.
COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
#: A third of them. Rounded down they are 596, and the three with the largest remainder, 1, 5 and 7
#: (2/3 each), get one more.
TEST_COUNTS = [59, 61, 59, 61, 60, 61, 60, 60, 58, 60]


def bilinear():
    """Weights (32, 8) that enlarge four times, outer pixel edges aligned."""
    position = np.clip((np.arange(32) + 0.5) / 4 - 0.5, 0, 7)
    return np.maximum(1 - np.abs(position[:, None] - np.arange(8)), 0)


@pytest.fixture(scope='module')
def splits():
    return {split: Digits(split=split) for split in ('train', 'test')}


@pytest.mark.parametrize('split, size', [('train', 1198), ('test', 599)])
def test_sizes(splits, split, size):
    dataset = splits[split]
    assert len(dataset) == size
    assert dataset.images.shape == (size, 32, 32, 3)
    assert dataset.images.dtype == np.uint8
    assert dataset.metainfo['classes'] == tuple('0123456789')


def test_classes_are_balanced(splits):
    train, test = (np.bincount(data.labels) for data in splits.values())
    assert test.tolist() == TEST_COUNTS
    assert (train + test).tolist() == COUNTS


def test_splits_share_no_image_and_lose_none(splits):
    """The 8 x 8 images are recovered: together they are scikit-learn's."""
    smaller = np.linalg.pinv(bilinear())
    found = {}
    for split, data in splits.items():
        enlarged = data.images[..., 0].astype(float)
        grey = np.round(smaller @ enlarged @ smaller.T * 16 / 255)
        exact = bilinear() @ np.round(grey * 255 / 16) @ bilinear().T
        assert np.abs(enlarged - exact).max() <= 1
        assert (data.images == data.images[..., :1]).all()  # grey
        found[split] = Counter(
            (image.astype(int).tobytes(), label) for image, label in zip(grey, data.labels)
        )
    digits = sklearn.datasets.load_digits()
    wanted = Counter(
        (image.astype(int).tobytes(), label) for image, label in zip(digits.images, digits.target)
    )
    assert len(wanted) == 1797  # no digit is there twice
    assert not found['train'] & found['test']
    assert found['train'] + found['test'] == wanted


def test_split_stays_the_same(splits):
    np.random.seed(1)  # it does not come from the global generator
    again = Digits(split='test')
    assert np.array_equal(again.images, splits['test'].images)
    assert np.array_equal(again.labels, splits['test'].labels)


@pytest.fixture
def use_images(monkeypatch):
    """Puts 8 x 8 images in the place of scikit-learn's, each three times."""

    def use(images):
        digits = SimpleNamespace(
            images=np.repeat(np.array(images, float), 3, axis=0),
            target=np.repeat(np.arange(len(images)), 3),
        )
        monkeypatch.setattr(sklearn.datasets, 'load_digits', lambda: digits)
        return Digits(split='test')

    return use


def test_constant_images_stay_constant(use_images):
    """Grey level v of 16 becomes v * 255 / 16, rounded."""
    levels = [0, 1, 4, 15, 16]
    dataset = use_images([np.full((8, 8), v) for v in levels])
    assert [np.unique(image).tolist() for image in dataset.images] == [
        [0],
        [16],  # 15.9
        [64],  # 63.75
        [239],  # 239.06
        [255],
    ]
    assert dataset.labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('across', [False, True])
def test_an_edge_by_hand(use_images, across):
    """Half black, half white: the four pixels between are a ramp.

    Their centres lie 1/8, 3/8, 5/8 and 7/8 of the way from the last black pixel's to the first
    white one's. OpenCV's integers may be one off.
    """
    image = np.zeros((8, 8))
    image[:, 4:] = 16
    line = [0] * 14 + [32, 96, 159, 223] + [255] * 14
    if across:
        image = image.T
    enlarged = use_images([image]).images[0, ..., 2].astype(int)
    enlarged = enlarged.T if across else enlarged
    assert np.abs(enlarged - line).max() <= 1
    assert (enlarged[:, :14] == 0).all() and (enlarged[:, 18:] == 255).all()


def test_from_a_config():
    dataset = DATASETS.build(
        dict(
            type='mmrazor_byot.Digits',
            split='test',
            samples_per_class=2,
            pipeline=[dict(type='PackInputs')],
        )
    )
    assert len(dataset) == 20
    labels = [int(d['data_samples'].gt_label) for d in dataset]
    assert sorted(labels) == sorted(2 * list(range(10)))
    assert dataset[0]['inputs'].shape == (3, 32, 32)


@pytest.mark.parametrize('split', ['val', 'Test', None])
def test_no_such_split(split):
    with pytest.raises(ConfigError, match='choose from "train" and "test"'):
        Digits(split=split)
