"""Labels and classifier speak of the same classes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.datasets import BaseDataset
from mmpretrain.structures import DataSample
from torch import nn

from mmrazor_byot.engine import LabelCheckHook
from mmrazor_byot.errors import ConfigError, DatasetError

MODES = ['train', 'val', 'test']


def with_exits():
    model = nn.Linear(1, 1)
    model.num_classes = 10
    return model


def plain():
    model = nn.Linear(1, 1)
    model.head = nn.Linear(1, 1)
    model.head.num_classes = 10
    return model


def runner(model, classes=None):
    """All three data sets have these classes."""
    metainfo = {} if classes is None else dict(classes=('c',) * classes)
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo))
    loaders = {f'{mode}_dataloader': loader for mode in MODES}
    return SimpleNamespace(model=model, **loaders)


def batch(*labels):
    samples = [DataSample().set_gt_label(label) for label in labels]
    return dict(inputs=torch.zeros(len(labels)), data_samples=samples)


def look(hook, mode, model, data):
    iteration = getattr(hook, f'before_{mode}_iter')
    iteration(runner(model), batch_idx=0, data_batch=data)


def end_epoch(hook, mode, model):
    getattr(hook, f'after_{mode}_epoch')(runner(model))


@pytest.mark.parametrize('model', [with_exits(), plain()])
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('wrap', [lambda m: m, nn.DataParallel])
@pytest.mark.parametrize('count', [9, 11, 100])
def test_other_number_of_classes(model, mode, wrap, count):
    check = getattr(LabelCheckHook(), f'before_{mode}')
    check(runner(wrap(model), classes=10))
    message = (
        f'the head has 10 classes, but the dataset of {mode}_dataloader has {count}: set '
        f'num_classes={count} of the head'
    )
    with pytest.raises(ConfigError, match=message):
        check(runner(wrap(model), classes=count))


@pytest.mark.parametrize('model, classes', [(with_exits(), None), (nn.Linear(1, 1), 7)])
@pytest.mark.parametrize('mode', MODES)
def test_unknown_number_of_classes(model, classes, mode):
    """Either does not say it: there is nothing to compare."""
    getattr(LabelCheckHook(), f'before_{mode}')(runner(model, classes))


@pytest.mark.parametrize('model', [with_exits(), plain()])
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('label', [10, -1, 255])
def test_label_out_of_range(model, mode, label):
    hook = LabelCheckHook()
    look(hook, mode, model, batch(0, 9))
    message = (
        f'the {mode} data has the label {label}, but the head has 10 classes, 0 to 9: correct the '
        'labels'
    )
    with pytest.raises(DatasetError, match=message):
        look(hook, mode, model, batch(3, label, 77))


def test_each_label_of_a_sample_counts():
    """A sample may have several."""
    with pytest.raises(DatasetError, match='has the label 12'):
        look(LabelCheckHook(), 'train', with_exits(), batch([1, 2], [3, 12]))


@pytest.mark.parametrize('mode', MODES)
def test_only_the_first_pass_is_looked_at(mode):
    hook, model = LabelCheckHook(), with_exits()
    look(hook, mode, model, batch(1))
    end_epoch(hook, mode, model)
    look(hook, mode, model, batch(10))
    for other in set(MODES) - {mode}:
        with pytest.raises(DatasetError):
            look(hook, other, model, batch(10))


class InMemory:
    """A data set that has its labels at hand, and counts who asks."""

    def __init__(self, labels):
        self.labels, self.asked = labels, 0

    def get_gt_labels(self):
        self.asked += 1
        return np.array(self.labels)


@pytest.mark.parametrize('mode', MODES)
def test_all_labels_are_looked_at_before_the_first_pass(mode):
    hook, model = LabelCheckHook(), with_exits()
    run = runner(model)
    loader = getattr(run, f'{mode}_dataloader')
    loader.dataset = InMemory([0, 9, 12, -1])
    check = getattr(hook, f'before_{mode}')
    message = f'the {mode} data has the label 12, but the head has 10 classes'
    with pytest.raises(DatasetError, match=message):
        check(run)
    loader.dataset = InMemory([0, 9])
    check(run)
    look(hook, mode, model, batch(99))  # batches need no look any more
    check(run)
    assert loader.dataset.asked == 1


def test_samples_are_not_unpickled_for_their_labels():
    """mmpretrain's own answer reads each of a million."""

    class OnDisk(BaseDataset):
        def get_data_info(self, idx):
            raise AssertionError

    run = runner(with_exits())
    run.train_dataloader.dataset = OnDisk('', lazy_init=True)
    LabelCheckHook().before_train(run)


def whole(labels):
    """A batch as one tensor; its samples must not be made."""

    class Samples:
        gt_label = labels

        def __getitem__(self, i):
            raise AssertionError

    return dict(data_samples=Samples())


def test_labels_of_a_batch_as_one_tensor():
    hook = LabelCheckHook()
    look(hook, 'train', with_exits(), whole(torch.tensor([0, 9])))
    with pytest.raises(DatasetError, match='has the label 10'):
        look(hook, 'train', with_exits(), whole(torch.tensor([0, 10])))


def test_labels_on_a_gpu_are_left_alone():
    class OnGpu(torch.Tensor):
        is_cuda = True

    labels = torch.tensor([10]).as_subclass(OnGpu)
    look(LabelCheckHook(), 'train', with_exits(), whole(labels))


@pytest.mark.parametrize(
    'data',
    [
        None,
        torch.ones(3),
        dict(inputs=torch.ones(3)),
        dict(data_samples=[]),
        dict(data_samples=[DataSample()]),
    ],
)
def test_batches_without_labels(data):
    look(LabelCheckHook(), 'test', with_exits(), data)


def test_head_without_a_number_of_classes():
    look(LabelCheckHook(), 'train', nn.Linear(1, 1), batch(10**6))
