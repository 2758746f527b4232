"""LabelCheckHook on whole batches."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmrazor_byot.datasets import ImageBatches
from mmrazor_byot.engine import LabelCheckHook
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.structures import BatchSamples

each_mode = pytest.mark.parametrize('mode', ['train', 'val', 'test'])


def runner(**loaders):
    model = nn.Linear(1, 1)
    model.num_classes = 10
    return SimpleNamespace(model=model, **loaders)


def look(hook, mode, *labels):
    samples = BatchSamples(gt_label=torch.tensor(labels))
    getattr(hook, f'before_{mode}_iter')(
        runner(), batch_idx=0, data_batch=dict(data_samples=samples)
    )
    return samples


@each_mode
def test_labels_of_a_batch(mode):
    """One that came from elsewhere than ImageBatches."""
    assert not look(LabelCheckHook(), mode, 0, 9)._made
    with pytest.raises(
        DatasetError, match=f'the {mode} data has the label 10, but the head has 10 classes'
    ):
        look(LabelCheckHook(), mode, 0, 10)


@each_mode
def test_all_labels_of_image_batches_at_once(mode):
    dataset = ImageBatches(dict(type='mmrazor_byot.Digits', indices=20))
    loader = torch.utils.data.DataLoader(dataset)
    ready = runner(**{f'{mode}_dataloader': loader})
    hook = LabelCheckHook()
    getattr(hook, f'before_{mode}')(ready)
    look(hook, mode, 10)  # not looked at again
    dataset.labels[13] = 10
    with pytest.raises(
        DatasetError, match=f'the {mode} data has the label 10, but the head has 10 classes'
    ):
        getattr(LabelCheckHook(), f'before_{mode}')(ready)


@each_mode
def test_a_loader_that_cannot_read_from_the_gpu(mode):
    dataset = ImageBatches(dict(type='mmrazor_byot.Digits', indices=20))
    dataset.images = SimpleNamespace(is_cuda=True, device='cuda:0')
    loader = torch.utils.data.DataLoader(dataset, num_workers=1)
    with pytest.raises(ConfigError, match='cuda:0: set num_workers=0'):
        getattr(LabelCheckHook(), f'before_{mode}')(runner(**{f'{mode}_dataloader': loader}))
