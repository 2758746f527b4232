"""Data sets that stand in memory as arrays."""

import numpy as np
import pytest
import torch

from mmrazor_byot.datasets import InMemoryDataset
from mmrazor_byot.errors import DatasetError


class Numbered(InMemoryDataset):
    """Six images of 2 x 2; all values of image i are 10 * i."""

    classes = ('ant', 'bee', 'cat')
    gt_labels = (0, 1, 2, 0, 1, 2)
    loads = 0

    def load_arrays(self):
        self.loads += 1
        images = np.zeros((6, 2, 2, 3), np.uint8)
        images += 10 * np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
        return images, np.array(self.gt_labels), list(self.classes)


def numbers(dataset):
    """Which images the data set has, in its order."""
    return [int(dataset[i]['img'][0, 0, 0]) // 10 for i in range(len(dataset))]


@pytest.mark.parametrize(
    'settings, kept',
    [
        (dict(), [0, 1, 2, 3, 4, 5]),
        (dict(num_classes=3), [0, 1, 2, 3, 4, 5]),
        (dict(num_classes=2), [0, 1, 3, 4]),
        (dict(num_classes=1), [0, 3]),
        (dict(samples_per_class=1), [0, 1, 2]),
        (dict(samples_per_class=7), [0, 1, 2, 3, 4, 5]),
        (dict(num_classes=2, samples_per_class=1), [0, 1]),
        (dict(skip_per_class=1), [3, 4, 5]),
        (dict(skip_per_class=1, samples_per_class=1), [3, 4, 5]),
        (dict(num_classes=2, skip_per_class=1), [3, 4]),
        (dict(indices=4), [0, 1, 2, 3]),
        (dict(indices=-2), [4, 5]),
        (dict(indices=[5, 0, 5]), [5, 0, 5]),
        (dict(num_classes=2, indices=3), [0, 1, 3]),
        (dict(num_classes=2, indices=[3, 0]), [4, 0]),
    ],
)
def test_choice_of_samples(settings, kept):
    dataset = Numbered(**settings)
    assert len(dataset) == len(kept)
    assert numbers(dataset) == kept
    labels = [i % 3 for i in kept]
    assert [dataset[i]['gt_label'] for i in range(len(kept))] == labels
    assert dataset.get_gt_labels().tolist() == labels
    assert [dataset.get_cat_ids(i) for i in range(len(kept))] == [[label] for label in labels]
    classes = Numbered.classes[: settings.get('num_classes')]
    assert dataset.metainfo['classes'] == dataset.CLASSES == classes


@pytest.mark.parametrize(
    'classes, num_classes, names',
    [('xyz', None, ('x', 'y', 'z')), (['x', 'y', 'z'], 2, ('x', 'y'))],
)
def test_names_of_the_user(classes, num_classes, names):
    metainfo = dict(classes=list(classes))
    dataset = Numbered(metainfo=metainfo, num_classes=num_classes)
    assert dataset.metainfo['classes'] == names


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(num_classes=4), 'num_classes=4, but it has 3 classes'),
        (dict(num_classes=0), 'num_classes=0, but it has 3 classes'),
        (dict(samples_per_class=0), 'samples_per_class=0; at least 1'),
        (dict(skip_per_class=-1), 'skip_per_class=-1; at least 0'),
        (dict(skip_per_class=2), 'no image is left'),
        (dict(indices=0), 'no image is left'),
        (dict(indices=[]), 'no image is left'),
    ],
)
def test_choice_that_cannot_be(settings, message):
    with pytest.raises(DatasetError, match=f'^Numbered: {message}'):
        Numbered(**settings)


@pytest.mark.parametrize(
    'labels, message',
    [
        ((0, 1, 2, 0, 1), '6 images for 5 labels'),
        (
            (0, 1, 3, 0, -1, 2),
            'the label of image 2 is 3, but there are 3 classes, 0 to 2 '
            r'\(2 labels out of range\)',
        ),
        ((0, -1, 2, 0, 1, 2), 'the label of image 1 is -1'),
    ],
)
def test_labels_that_do_not_fit(monkeypatch, labels, message):
    monkeypatch.setattr(Numbered, 'gt_labels', labels)
    with pytest.raises(DatasetError, match=f'^Numbered: {message}'):
        Numbered()


def test_no_images(monkeypatch):
    empty = np.zeros((0, 2, 2, 3), np.uint8), [], ['ant']
    monkeypatch.setattr(Numbered, 'load_arrays', lambda self: empty)
    with pytest.raises(DatasetError, match='0 images for 0 labels'):
        Numbered()


@pytest.mark.parametrize('indices, kept', [(2, [0, 1]), (-1, [5]), ([4, 2], [4, 2]), ((3,), [3])])
def test_subsets(indices, kept):
    dataset = Numbered()
    subset = dataset.get_subset(indices)
    assert numbers(subset) == kept
    assert numbers(dataset) == [0, 1, 2, 3, 4, 5]
    assert subset.metainfo == dataset.metainfo
    dataset.get_subset_(indices)
    assert numbers(dataset) == kept
    assert dataset.get_gt_labels().tolist() == [i % 3 for i in kept]


def test_subset_of_a_subset():
    assert numbers(Numbered().get_subset([5, 3, 1]).get_subset(-2)) == [3, 1]


def test_samples_are_copies():
    dataset = Numbered()
    dataset[3]['img'][:] = 255
    dataset.get_data_info(3)['img'][:] = 255
    assert dataset[3]['img'].tolist() == [[[30] * 3] * 2] * 2


@pytest.mark.parametrize('idx, sample_idx', [(0, 0), (5, 5), (-1, 5)])
def test_sample_idx(idx, sample_idx):
    info = Numbered().get_data_info(idx)
    assert info['sample_idx'] == sample_idx
    assert info['img'][0, 0, 0] == 10 * sample_idx
    assert type(info['gt_label']) is int


def test_all_samples_as_a_list():
    samples = Numbered(num_classes=2).load_data_list()
    assert [s['gt_label'] for s in samples] == [0, 1, 0, 1]
    assert [s['img'].max() for s in samples] == [0, 10, 30, 40]


def test_loads_once_and_only_when_asked():
    dataset = Numbered(lazy_init=True)
    assert dataset.loads == 0
    assert len(dataset) == 6
    dataset.full_init()
    assert numbers(dataset) == [0, 1, 2, 3, 4, 5]
    assert dataset.loads == 1


def test_pipeline():
    dataset = Numbered(pipeline=[dict(type='PackInputs')])
    sample = dataset[4]
    assert sample['inputs'].dtype == torch.uint8
    assert sample['inputs'].tolist() == [[[40, 40], [40, 40]]] * 3
    assert sample['data_samples'].gt_label.tolist() == [1]
    assert sample['data_samples'].sample_idx == 4


def test_channels_come_first_in_the_pipeline(monkeypatch):
    """Pixel (row 1, column 0) is red, the rest is black."""
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 1, 0, 0] = 200
    arrays = image, np.array([0]), ['ant']
    monkeypatch.setattr(Numbered, 'load_arrays', lambda self: arrays)
    inputs = Numbered(pipeline=[dict(type='PackInputs')])[0]['inputs']
    assert inputs.tolist() == [
        [[0, 0], [200, 0]],
        [[0] * 2] * 2,
        [[0] * 2] * 2,
    ]


class AntsAndBees(InMemoryDataset):
    """Images 0 to 15 of one pixel, 10 * i; every fourth is a bee."""

    labels = (0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1)

    def load_arrays(self):
        images = np.zeros((16, 1, 1, 3), np.uint8)
        images += 10 * np.arange(16, dtype=np.uint8).reshape(16, 1, 1, 1)
        return images, np.array(self.labels), ['ant', 'bee']


@pytest.mark.parametrize(
    'settings, apart',
    [
        # Ants are 0 1 2 4 5 6 8 9 10 12 13 14, bees 3 7 11 15.
        (dict(hold_out_every=2), [1, 4, 6, 7, 9, 12, 14, 15]),
        (dict(hold_out_every=3), [2, 6, 10, 11, 14]),
        (dict(hold_out_every=4), [4, 9, 14, 15]),
        (dict(hold_out_every=12), [14]),
        (dict(hold_out_every=3, num_classes=1), [2, 6, 10, 14]),
    ],
)
def test_holding_out(settings, apart):
    held_out = AntsAndBees(held_out=True, **settings)
    trained = AntsAndBees(**settings)
    del settings['hold_out_every']
    everything = numbers(AntsAndBees(**settings))
    assert numbers(held_out) == apart
    assert numbers(trained) == [i for i in everything if i not in apart]
    for dataset in (held_out, trained):
        labels = [AntsAndBees.labels[i] for i in numbers(dataset)]
        assert dataset.get_gt_labels().tolist() == labels


def test_samples_are_chosen_of_what_was_not_held_out():
    settings = dict(hold_out_every=2, samples_per_class=5)
    held_out = AntsAndBees(held_out=True, **settings)
    assert numbers(held_out) == [1, 4, 6, 7, 9, 12, 15]
    assert numbers(AntsAndBees(**settings)) == [0, 2, 3, 5, 8, 10, 11]


def test_indices_choose_among_what_was_held_out():
    settings = dict(hold_out_every=2, held_out=True)
    assert numbers(AntsAndBees(indices=3, **settings)) == [1, 4, 6]
    assert numbers(AntsAndBees(indices=[-1, 0], **settings)) == [15, 1]


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(hold_out_every=1), 'hold_out_every=1; at least 2'),
        (dict(hold_out_every=0), 'hold_out_every=0; at least 2'),
        (dict(hold_out_every=-3), 'hold_out_every=-3; at least 2'),
        (dict(held_out=True), 'hold_out_every=None; at least 2'),
        (dict(hold_out_every=13, held_out=True), 'no image is left'),
    ],
)
def test_holding_out_that_cannot_be(settings, message):
    with pytest.raises(DatasetError, match=f'^AntsAndBees: {message}'):
        AntsAndBees(**settings)
