"""Data sets in memory as arrays."""

import numpy as np
import pytest
import torch

from mmrazor_byot.datasets import InMemoryDataset
from mmrazor_byot.errors import DatasetError


class Numbered(InMemoryDataset):
    """Images of 2 x 2; all values of image i are 10 * i."""

    classes = ('ant', 'bee', 'cat')
    gt_labels = (0, 1, 2, 0, 1, 2)
    count = 6
    loads = 0

    def load_arrays(self):
        self.loads += 1
        images = 10 * np.arange(self.count, dtype=np.uint8).reshape(-1, 1, 1, 1)
        return np.tile(images, (1, 2, 2, 3)), np.array(self.gt_labels), list(self.classes)


class AntsAndBees(Numbered):
    """Ants are 0 1 2 4 5 6 8 9 10 12 13 14, bees 3 7 11 15."""

    classes = ('ant', 'bee')
    gt_labels = (0, 0, 0, 1) * 4
    count = 16


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
    assert dataset.get_gt_labels().tolist() == labels
    assert [dataset.get_cat_ids(i) for i in range(len(kept))] == [[label] for label in labels]
    samples = dataset.load_data_list()
    assert [s['gt_label'] for s in samples] == labels
    assert [s['img'].max() for s in samples] == [10 * i for i in kept]
    classes = Numbered.classes[: settings.get('num_classes')]
    assert dataset.metainfo['classes'] == dataset.CLASSES == classes


@pytest.mark.parametrize('num_classes, names', [(None, ('x', 'y', 'z')), (2, ('x', 'y'))])
def test_names_of_the_user(num_classes, names):
    dataset = Numbered(metainfo=dict(classes=list('xyz')), num_classes=num_classes)
    assert dataset.metainfo['classes'] == names


@pytest.mark.parametrize(
    'settings, apart',
    [
        (dict(hold_out_every=2), [1, 4, 6, 7, 9, 12, 14, 15]),
        (dict(hold_out_every=3), [2, 6, 10, 11, 14]),
        (dict(hold_out_every=4), [4, 9, 14, 15]),
        (dict(hold_out_every=12), [14]),
        (dict(hold_out_every=3, num_classes=1), [2, 6, 10, 14]),
    ],
)
def test_holding_out(settings, apart):
    everything = numbers(AntsAndBees(num_classes=settings.get('num_classes')))
    left = [i for i in everything if i not in apart]
    for held_out, wanted in ((True, apart), (False, left)):
        dataset = AntsAndBees(held_out=held_out, **settings)
        assert numbers(dataset) == wanted
        assert dataset.get_gt_labels().tolist() == [AntsAndBees.gt_labels[i] for i in wanted]


@pytest.mark.parametrize(
    'settings, kept',
    [
        (dict(samples_per_class=5, held_out=True), [1, 4, 6, 7, 9, 12, 15]),
        (dict(samples_per_class=5), [0, 2, 3, 5, 8, 10, 11]),
        (dict(skip_per_class=1, samples_per_class=2), [2, 5, 11]),
        (dict(indices=3, held_out=True), [1, 4, 6]),
        (dict(indices=[-1, 0], held_out=True), [15, 1]),
    ],
)
def test_samples_are_chosen_of_what_holding_out_left(settings, kept):
    assert numbers(AntsAndBees(hold_out_every=2, **settings)) == kept


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(num_classes=4), 'num_classes=4, but it has 3 classes'),
        (dict(num_classes=0), 'num_classes=0; an integer, at least 1'),
        (dict(num_classes=2.0), 'num_classes=2.0; an integer'),
        (dict(samples_per_class=1.5), 'samples_per_class=1.5; an integer'),
        (dict(skip_per_class='1'), 'skip_per_class=1; an integer'),
        (dict(samples_per_class=0), 'samples_per_class=0'),
        (dict(skip_per_class=-1), 'skip_per_class=-1'),
        (dict(skip_per_class=2), 'no image is left'),
        (dict(indices=0), 'no image is left'),
        (dict(indices=[]), 'no image is left'),
        (dict(hold_out_every=1), 'hold_out_every=1'),
        (dict(hold_out_every=-3), 'hold_out_every=-3'),
        (dict(hold_out_every=2.5), 'hold_out_every=2.5; .*an integer'),
        (dict(hold_out_every='5'), "hold_out_every='5'; .*an integer"),
        (dict(held_out=True), 'hold_out_every=None'),
        (dict(hold_out_every=13, held_out=True), 'no image is left'),
    ],
)
def test_choice_that_cannot_be(settings, message):
    with pytest.raises(DatasetError, match=f'^Numbered: {message}'):
        Numbered(**settings)


@pytest.mark.parametrize(
    'labels, message',
    [
        ((0, 1, 2, 0, 1), r'6 images for labels of shape \(5,'),
        ((0, 1, 3, 0, -1, 2), 'the label of image 2 is 3, but .* 3 classes, .*2 labels out of'),
        ((0, -1, 2, 0, 1, 2), 'the label of image 1 is -1'),
        ((0.5, 1.5, 2, 0, 1, 2), r'the labels are float64, the first is 0\.5;'),
        (('a',) * 6, 'the labels are <U1'),
        (((0, 1),) * 6, r'6 images for labels of shape \(6, 2'),
        (((0,),) * 6, r'6 images for labels of shape \(6, 1'),
    ],
)
def test_labels_that_do_not_fit(monkeypatch, labels, message):
    monkeypatch.setattr(Numbered, 'gt_labels', labels)
    with pytest.raises(DatasetError, match=f'^Numbered: {message}'):
        Numbered()


def test_no_images(monkeypatch):
    monkeypatch.setattr(Numbered, 'count', 0)
    monkeypatch.setattr(Numbered, 'gt_labels', ())
    with pytest.raises(DatasetError, match='0 images'):
        Numbered()


@pytest.mark.parametrize('indices, kept', [(2, [0, 1]), (-1, [5]), ([4, 2], [4, 2]), ((3,), [3])])
def test_subsets(indices, kept):
    dataset = Numbered()
    subset = dataset.get_subset(indices)
    assert numbers(subset) == kept == numbers(subset.get_subset(range(len(kept))))
    assert numbers(dataset) == [0, 1, 2, 3, 4, 5]
    assert subset.metainfo == dataset.metainfo
    dataset.get_subset_(indices)
    assert numbers(dataset) == kept
    assert dataset.get_gt_labels().tolist() == [i % 3 for i in kept]


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


def test_loads_once_and_only_when_asked():
    dataset = Numbered(lazy_init=True)
    assert dataset.loads == 0
    assert len(dataset) == 6
    dataset.full_init()
    assert numbers(dataset) == [0, 1, 2, 3, 4, 5]
    assert dataset.loads == 1


def test_pipeline():
    sample = Numbered(pipeline=[dict(type='PackInputs')])[4]
    assert sample['inputs'].dtype == torch.uint8
    assert sample['inputs'].tolist() == [[[40, 40], [40, 40]]] * 3
    assert sample['data_samples'].gt_label.tolist() == [1]
    assert sample['data_samples'].sample_idx == 4
