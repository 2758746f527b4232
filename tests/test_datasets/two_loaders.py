"""Train on single images and on batched data, and say where they differ.

Run alone or on two processes: ``two_loaders.py WORK_DIR``. Rank 0 prints.
"""

import os
import sys
from unittest import mock

import torch
import torch.distributed as dist
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrazor_byot.launch import leave_processes
from mmrazor_byot.registry import TRANSFORMS
from mmrazor_byot.structures import BatchSamples

NORM = dict(mean=[77.8] * 3, std=[82.5] * 3)
PACK = [dict(type='PackInputs')]
EPOCHS = 2


@TRANSFORMS.register_module()
class ToyFlip:
    """Mirrors half of the images."""

    def __call__(self, images):
        flip = (torch.rand(len(images)) < 0.5).to(images.device)
        return torch.where(flip[:, None, None, None], images.flip(3), images)


class Notes(Hook):
    """Which images were shown, in which order, and what came of it."""

    def __init__(self):
        self.numbers, self.metrics = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        samples = BatchSamples.of(data_batch['data_samples'])
        self.numbers.append(samples.sample_idx.tolist())

    def after_val_epoch(self, runner, metrics=None):
        self.metrics.append(metrics)


def loader(kind, split, images):
    """23 images to train on and 9 to test on: neither fits batches of 4."""
    dataset = dict(type='mmrazor_byot.Digits', split=split, indices=images)
    if kind == 'single':
        dataset.update(pipeline=PACK)
        collate = 'default_collate'
    else:
        dataset = dict(type='mmrazor_byot.ImageBatches', dataset=dataset)
        collate = 'mmrazor_byot.collate_batch'
    return dict(
        dataset=dataset,
        batch_size=4,
        num_workers=0,
        collate_fn=dict(type=collate),
        sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
    )


def train(work_dir, kind, epochs=EPOCHS, resume=False, transforms=()):
    """Train; returns the notes and the weights."""
    preprocessor = dict(NORM)
    metric = dict(type='mmrazor_byot.ExitAccuracy', topk=(1, 3))
    if kind == 'batches':
        preprocessor.update(type='mmrazor_byot.BatchDataPreprocessor', transforms=transforms)
        metric = dict(type='mmrazor_byot.BatchEvaluator', metrics=metric)
    notes = Notes()
    distributed = int(os.environ.get('WORLD_SIZE', 1)) > 1
    with mock.patch.object(torch.cuda, 'set_device'):
        runner = Runner(
            model=dict(
                type='mmrazor_byot.BYOT',
                architecture=dict(
                    type='ImageClassifier',
                    backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
                    neck=dict(type='GlobalAveragePooling'),
                    head=dict(type='LinearClsHead', num_classes=10, in_channels=32),
                ),
            ),
            data_preprocessor=preprocessor,
            work_dir=work_dir,
            train_dataloader=loader(kind, 'train', 23),
            val_dataloader=loader(kind, 'test', 9),
            val_evaluator=metric,
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02)),
            custom_hooks=[
                dict(type='mmrazor_byot.EpochSeedHook'),
                dict(type='mmrazor_byot.LabelCheckHook'),
                notes,
            ],
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1000)),
            randomness=dict(seed=5),
            launcher='pytorch' if distributed else 'none',
            env_cfg=dict(dist_cfg=dict(backend='gloo')),
            cfg=dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None)),
            log_level='ERROR',
            resume=resume,
            default_scope='mmpretrain',
            experiment_name=f'{work_dir}{epochs}'.replace('/', '_'),
        )
        runner.train()
    weights = {
        name.removeprefix('module.'): value.clone()
        for name, value in runner.model.state_dict().items()
    }
    return notes, weights


def equal(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def main():
    root = sys.argv[1]
    single, expected = train(f'{root}/single', 'single')
    whole, weights = train(f'{root}/batches', 'batches')
    flip = [dict(type='mmrazor_byot.ToyFlip')]
    _, unbroken = train(f'{root}/unbroken', 'batches', transforms=flip)
    train(f'{root}/broken', 'batches', EPOCHS - 1, transforms=flip)
    _, broken = train(f'{root}/broken', 'batches', resume=True, transforms=flip)
    numbers = sum(all_gather_object(sum(whole.numbers, [])), [])
    facts = dict(
        order=single.numbers == whole.numbers,
        shown=len(numbers),
        images=len(set(numbers)),
        metrics=single.metrics == whole.metrics and len(whole.metrics),
        measured=sorted(whole.metrics[-1])[:2],
        weights=equal(weights, expected),
        resumed=equal(broken, unbroken),
        flipped=not equal(unbroken, weights),
    )
    if int(os.environ.get('RANK', 0)) == 0:
        print('\nFACTS', facts)
    if dist.is_initialized():
        leave_processes()


if __name__ == '__main__':
    main()
