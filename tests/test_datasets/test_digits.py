"""scikit-learn's digits, split and enlarged."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets

from mmrazor_byot.datasets import Digits
from mmrazor_byot.errors import ConfigError

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


def test_sizes_and_balance(splits):
    for dataset, size in zip(splits.values(), (1198, 599)):
        assert dataset.images.shape == (size, 32, 32, 3)
        assert dataset.images.dtype == np.uint8
        assert dataset.metainfo['classes'] == tuple('0123456789')
    train, test = (np.bincount(data.labels) for data in splits.values())
    assert test.tolist() == TEST_COUNTS
    assert (train + test).tolist() == COUNTS


def test_splits_share_no_image_and_lose_none(splits):
    """The 8 x 8 images are recovered: together they are scikit-learn's."""
    smaller = np.linalg.pinv(bilinear())
    found = {}
    for split, data in splits.items():
        enlarged = data.images[..., 0].astype(float)
        gray = np.round(smaller @ enlarged @ smaller.T * 16 / 255)
        exact = bilinear() @ np.round(gray * 255 / 16) @ bilinear().T
        assert np.abs(enlarged - exact).max() <= 1
        assert (data.images == data.images[..., :1]).all()  # gray
        found[split] = Counter(
            (image.astype(int).tobytes(), label) for image, label in zip(gray, data.labels)
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


def test_constant_images_stay_constant(monkeypatch):
    """Gray level v of 16 becomes v * 255 / 16, rounded."""
    levels = np.array([0, 1, 4, 15, 16])
    digits = SimpleNamespace(
        images=levels.repeat(3)[:, None, None] * np.ones((8, 8)), target=np.arange(5).repeat(3)
    )
    monkeypatch.setattr(sklearn.datasets, 'load_digits', lambda: digits)
    dataset = Digits(split='test')
    wanted = [[0], [16], [64], [239], [255]]  # 15.9, 63.75, 239.06
    assert [np.unique(image).tolist() for image in dataset.images] == wanted
    assert dataset.labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('split', ['val', None])
def test_no_such_split(split):
    with pytest.raises(ConfigError, match='choose from "train" and "test"'):
        Digits(split=split)
