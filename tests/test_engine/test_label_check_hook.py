"""Labels and classifier speak of the same classes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.datasets import BaseDataset
from mmpretrain.structures import DataSample
from torch import nn

from mmrazor_byot.datasets import ImageBatches
from mmrazor_byot.engine import LabelCheckHook
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.structures import BatchSamples

MODES = ['train', 'val', 'test']
each_mode = pytest.mark.parametrize('mode', MODES)


def model(num_classes=10):
    network = nn.Linear(1, 1)
    network.num_classes = num_classes
    return network


def plain():
    """A classifier whose head knows the number of classes."""
    network = nn.Linear(1, 1)
    network.head = model()
    return network


class InMemory:
    """A data set that has its labels at hand, and counts who asks."""

    def __init__(self, labels):
        self.labels, self.asked = labels, 0

    def get_gt_labels(self):
        self.asked += 1
        return np.array(self.labels)


def start(hook, mode, dataset, network=None, loader=None):
    """Begin an epoch."""
    runner = SimpleNamespace(model=network or model())
    setattr(runner, f'{mode}_dataloader', loader or SimpleNamespace(dataset=dataset))
    getattr(hook, f'before_{mode}_epoch')(runner)


def check(hook, mode, data, network=None):
    """Begin an iteration."""
    runner = SimpleNamespace(model=network or model())
    getattr(hook, f'before_{mode}_iter')(runner, batch_idx=0, data_batch=data)


def batch(*labels):
    return dict(data_samples=[DataSample().set_gt_label(label) for label in labels])


def whole(labels):
    return dict(data_samples=BatchSamples(gt_label=labels))


@pytest.mark.parametrize('network', [model(), plain(), nn.DataParallel(model())])
@each_mode
def test_number_of_classes(network, mode):
    def dataset(count):
        return SimpleNamespace(metainfo=dict(classes=('c',) * count))

    start(LabelCheckHook(), mode, dataset(10), network)
    for count in (9, 100):
        message = f'head has 10 classes, but the dataset of {mode}_dataloader has {count}'
        with pytest.raises(ConfigError, match=message):
            start(LabelCheckHook(), mode, dataset(count), network)


@pytest.mark.parametrize(
    'network, metainfo', [(model(), {}), (nn.Linear(1, 1), dict(classes=('a', 'b')))]
)
def test_unknown_number_of_classes(network, metainfo):
    """Either does not say it: there is nothing to compare."""
    hook = LabelCheckHook()
    start(hook, 'train', SimpleNamespace(metainfo=metainfo), network)
    check(hook, 'train', batch(9), network)


@pytest.mark.parametrize('network', [model(), plain()])
@each_mode
@pytest.mark.parametrize('label', [10, -1, 255])
def test_label_out_of_range(network, mode, label):
    hook = LabelCheckHook()
    check(hook, mode, batch(0, 9), network)
    check(hook, mode, whole(torch.tensor([0, 9])), network)
    for wrong in (
        batch(3, label, 77),
        batch([1, 2], [3, label]),  # several labels a sample
        whole(torch.tensor([3, label, 77])),
    ):
        with pytest.raises(DatasetError, match=f'the {mode} data has the label {label}, '):
            check(hook, mode, wrong, network)


@each_mode
def test_only_the_first_epoch_is_checked(mode):
    hook = LabelCheckHook()
    check(hook, mode, batch(1))
    getattr(hook, f'after_{mode}_epoch')(SimpleNamespace())
    check(hook, mode, batch(10))
    for other in set(MODES) - {mode}:
        with pytest.raises(DatasetError):
            check(hook, other, batch(10))


@each_mode
def test_labels_in_memory_are_checked_before_the_first_epoch(mode):
    hook = LabelCheckHook()
    with pytest.raises(DatasetError, match=f'the {mode} data has the label 12, '):
        start(hook, mode, InMemory([0, 9, 12, -1]))
    dataset = InMemory([0, 9])
    start(hook, mode, dataset)
    check(hook, mode, batch(99))  # is not looked at
    start(hook, mode, dataset)
    assert dataset.asked == 1


def test_samples_are_not_unpickled_for_their_labels():
    """mmpretrain's own answer reads each of a million."""

    class OnDisk(BaseDataset):
        def get_data_info(self, idx):
            raise AssertionError

    start(LabelCheckHook(), 'train', OnDisk('', lazy_init=True))


def test_image_batches():
    """All labels at once; and images on a GPU cannot be read by workers."""
    dataset = ImageBatches(dict(type='mmrazor_byot.Digits', indices=20))
    loader = torch.utils.data.DataLoader(dataset, num_workers=1)
    start(LabelCheckHook(), 'train', dataset, loader=loader)
    dataset.labels[13] = 10
    with pytest.raises(DatasetError, match='has the label 10'):
        start(LabelCheckHook(), 'train', dataset, loader=loader)
    dataset.images = SimpleNamespace(is_cuda=True, device='cuda:0')
    with pytest.raises(ConfigError, match='cuda:0: set num_workers=0'):
        start(LabelCheckHook(), 'train', dataset, loader=loader)


def test_labels_on_a_gpu_are_left_alone():
    class OnGpu(torch.Tensor):
        is_cuda = True

    labels = torch.tensor([10]).as_subclass(OnGpu)
    check(LabelCheckHook(), 'train', whole(labels))


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
    check(LabelCheckHook(), 'test', data)
