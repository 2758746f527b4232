"""Batched data are the batches that single images make."""

import itertools
from multiprocessing.reduction import ForkingPickler

import mmpretrain.datasets
import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from mmrazor_byot.datasets import (
    CIFAR100,
    Digits,
    ImageBatches,
    collate_batch,
)
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.structures import BatchSamples

PACK = [dict(type='PackInputs')]
BATCH = dict(type='mmrazor_byot.collate_batch')
SHUFFLE = dict(type='DefaultSampler', shuffle=True)
SEVEN = dict(type='mmrazor_byot.Digits', indices=7)


def loaders(seed=3, **settings):
    """The loader of single images and that of batched data."""
    settings = dict(dict(batch_size=3, num_workers=0, sampler=SHUFFLE), **settings)
    singly = dict(dataset={**SEVEN, 'pipeline': PACK}, collate_fn=dict(type='default_collate'))
    whole = dict(dataset=dict(type='mmrazor_byot.ImageBatches', dataset=SEVEN), collate_fn=BATCH)
    return [Runner.build_dataloader({**kind, **settings}, seed=seed) for kind in (singly, whole)]


def equal_batches(expected, found):
    assert torch.equal(expected['inputs'], found['inputs'])
    assert found['inputs'].dtype == torch.uint8
    samples = expected['data_samples']
    assert isinstance(found['data_samples'], BatchSamples)
    assert found['data_samples'].gt_label.tolist() == [s.gt_label.item() for s in samples]
    assert found['data_samples'].sample_idx.tolist() == [s.sample_idx for s in samples]


@pytest.mark.parametrize(
    'settings',
    [
        dict(),
        dict(drop_last=True),
        dict(sampler=dict(type='InfiniteSampler', shuffle=True)),
        dict(sampler=dict(type='DefaultSampler', shuffle=False), batch_size=4),
        dict(num_batch_per_epoch=1),
        dict(num_workers=2),
    ],
)
def test_same_samples_in_the_same_order(settings):
    for seed in (3, 4):
        singly, whole = loaders(seed, **settings)
        for epoch in (0, 1) if 'sampler' not in settings else (0,):
            singly.sampler.set_epoch(epoch)
            whole.sampler.set_epoch(epoch)
            batches = [list(itertools.islice(loader, 6)) for loader in (singly, whole)]
            assert len(batches[0]) == len(batches[1]) > 0
            for expected, found in zip(*batches):
                equal_batches(expected, found)


@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_workers_share_the_one_copy(start):
    loader = Runner.build_dataloader(
        dict(
            dataset=dict(type='mmrazor_byot.ImageBatches', dataset=SEVEN),
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_size=7,
            num_workers=1,
            persistent_workers=True,
            collate_fn=BATCH,
            multiprocessing_context=start,
        )
    )
    dataset = loader.dataset
    assert len(ForkingPickler.dumps(dataset)) < 4096 < dataset.images.numel()
    (batch,) = loader
    assert torch.equal(batch['inputs'], dataset.images)
    dataset.images.fill_(77)  # the process that has started sees it
    (batch,) = loader
    assert batch['inputs'].unique().tolist() == [77]


def test_too_little_shared_memory(monkeypatch):
    """What torch says in a container of 64 MB, although none of it is used."""

    def fail(tensor):
        raise RuntimeError('unable to allocate shared memory(shm)')

    monkeypatch.setattr(torch.Tensor, 'share_memory_', fail)
    dataset = ImageBatches(SEVEN)
    assert not dataset.images.is_shared()
    assert np.array_equal(dataset.images.permute(0, 2, 3, 1), Digits(indices=7).images)


@pytest.mark.parametrize(
    'settings',
    [
        dict(split='test'),
        dict(hold_out_every=10, held_out=True),
        dict(samples_per_class=2, num_classes=4),
    ],
)
def test_all_that_the_wrapped_set_can(settings):
    expected = Digits(**settings)
    inside = ImageBatches(dict(type='mmrazor_byot.Digits', **settings))
    outside = ImageBatches(dict(type='mmrazor_byot.Digits'), **settings)
    built = ImageBatches(Digits(**settings))
    for dataset in (inside, outside, built):
        assert len(dataset) == len(expected) > 7
        assert np.array_equal(dataset.images.permute(0, 2, 3, 1).numpy(), expected.images)
        assert dataset.get_gt_labels().tolist() == expected.labels.tolist()
        assert dataset.metainfo == expected.metainfo


def test_cifar(write_cifar):
    labels = [4, 4, 99, 4, 0]
    root = write_cifar(train=labels, test=[5])
    planes = write_cifar.planes['train'].reshape(5, 3, 32, 32)
    for kind in (CIFAR100, mmpretrain.datasets.CIFAR100):
        dataset = ImageBatches(kind(root))
        assert np.array_equal(dataset.images.numpy(), planes)
        assert dataset.labels.tolist() == labels
        assert dataset.class_to_idx['worm'] == 99
    dataset = ImageBatches(
        dict(type='mmrazor_byot.CIFAR100', data_root=root), hold_out_every=2, held_out=True
    )
    assert dataset.labels.tolist() == [4]  # the second of three of class 4
    assert np.array_equal(dataset.images[0].numpy(), planes[1])


@pytest.mark.parametrize('i, number', [(0, 0), (6, 6), (-2, 5)])
def test_one_sample(i, number):
    dataset, singly = ImageBatches(SEVEN), Digits(indices=7, pipeline=PACK)
    found, expected = dataset[i], singly[number]
    assert torch.equal(found['inputs'], expected['inputs'])
    assert type(found['data_samples']) is DataSample
    assert found['data_samples'].gt_label.tolist() == expected['data_samples'].gt_label.tolist()
    assert found['data_samples'].sample_idx == number
    info, theirs = dataset.get_data_info(i), singly.get_data_info(number)
    assert np.array_equal(info['img'], theirs['img'])
    assert {**info, 'img': None} == {**theirs, 'img': None}
    with pytest.raises(IndexError):
        dataset[7]
    found['inputs'].zero_()
    info['img'][:] = 0
    assert dataset.images[i].any()  # they were copies


@pytest.mark.parametrize('indices, kept', [(2, [0, 1]), (-1, [6]), ([4, 2], [4, 2])])
def test_subsets(indices, kept):
    dataset = ImageBatches(SEVEN)
    subset = dataset.get_subset(indices)
    assert torch.equal(subset.images, dataset.images[kept])
    assert subset.get_gt_labels().tolist() == dataset.labels[kept].tolist()
    assert len(subset) == len(kept) and len(dataset) == 7
    dataset.get_subset_(indices)
    assert torch.equal(subset.images, dataset.images)


def test_reads_only_when_asked():
    dataset = ImageBatches(dict(type='mmrazor_byot.Digits', lazy_init=True), lazy_init=True)
    assert not hasattr(dataset, 'images')
    assert len(dataset) == 1198


def test_samples_that_come_one_by_one_are_put_together():
    """As from mmengine's wrappers, which know nothing of batched data."""
    dataset = ConcatDataset([ImageBatches(SEVEN), ImageBatches(SEVEN)])
    batch = collate_batch([dataset[i] for i in range(14)])
    images = ImageBatches(SEVEN).images
    assert torch.equal(batch['inputs'], torch.cat([images, images]))
    assert batch['data_samples'].sample_idx.tolist() == [*range(7)] * 2


@pytest.mark.parametrize('name', ['pseudo_collate', 'default_collate'])
def test_another_collate_function(name):
    _, loader = loaders(collate_fn=dict(type=name))
    with pytest.raises(ConfigError, match='set collate_fn=dict'):
        next(iter(loader))
