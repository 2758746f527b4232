"""Short runs of MMEngine's Runner on a network that is next to nothing."""

import copy
import itertools
import json
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import Dataset

from mmrazor_byot.registry import DATASETS, MODELS

MODEL = dict(
    type='mmrazor_byot.BYOT',
    architecture=dict(
        type='ImageClassifier',
        backbone=dict(type='mmrazor_byot.TwoStages'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=5,
            in_channels=None,
            loss=dict(type='CrossEntropyLoss'),
        ),
    ),
    data_preprocessor=dict(mean=[127.5] * 3, std=[64.0] * 3, num_classes=5),
    input_size=16,
)
NUMBERS = itertools.count()  # a name is one message hub
HOOKS = [
    dict(type=f'mmrazor_byot.{name}Hook')
    for name in ('ChannelsLast', 'Compile', 'EpochSeed', 'LabelCheck')
]
HOOKS.append(dict(type='mmrazor_byot.FiniteLossHook', interval=100))
SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4)
EMA = dict(type='EMAHook', ema_type='mmrazor_byot.ExponentialMovingAverage', momentum=0.2)

#: The size of the batch of each graph that the backend `counted` was given.
GRAPHS = []


@torch._dynamo.register_backend
def counted(graph, example_inputs):
    """Runs a graph as it is, and notes the size of its batch."""
    GRAPHS.append(max(len(x) for x in example_inputs if x.shape[1:] == (3, 16, 16)))
    return graph.forward


@MODELS.register_module()
class TwoStages(nn.Module):
    """What a ResNet is made of: batch norm, strides, and a shortcut."""

    out_indices = (0, 1)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, 2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.shortcut = nn.Conv2d(16, 32, 1, 2, bias=False)

    def forward(self, x):
        first = self.bn1(self.conv1(x)).relu()
        second = self.bn2(self.conv2(first)) + self.shortcut(first)
        return first, second.relu()


@DATASETS.register_module()
class Noise(Dataset):
    """Random images of 16 x 16 in 5 classes.

    Args:
        count (int): How many.
    """

    metainfo = dict(classes=tuple('abcde'))

    def __init__(self, count: int):
        generator = torch.Generator().manual_seed(3)
        self.images = torch.randint(0, 256, (count, 3, 16, 16), generator=generator).byte()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        sample = DataSample().set_gt_label(i % 5)
        return dict(inputs=self.images[i], data_samples=sample)


@DATASETS.register_module()
class FlippedNoise(Noise):
    """Half of the images are flipped, at random."""

    def __getitem__(self, i):
        data = super().__getitem__(i)
        return dict(data, inputs=data['inputs'].flip(2)) if torch.rand(()) < 0.5 else data


def loader(count, shuffle, dataset='Noise'):
    return dict(
        batch_size=8,
        num_workers=0,
        dataset=dict(type=f'mmrazor_byot.{dataset}', count=count),
        sampler=dict(type='DefaultSampler', shuffle=shuffle),
        collate_fn=dict(type='default_collate'),
    )


VALIDATION = dict(
    val_dataloader=loader(10, False),
    val_cfg=dict(),
    val_evaluator=dict(type='mmrazor_byot.ExitAccuracy', topk=1),
)


def config(work_dir, epochs=2, optim=(), default_hooks=(), hooks=(), **changes) -> Config:
    """Of a run with our hooks; an epoch is 8 + 8 + 4 images.

    Args:
        work_dir (Path): For its files.
        epochs (int): How many.
        optim (dict): Changes of ``optim_wrapper``.
        default_hooks (dict): Changes of ``default_hooks``.
        hooks (Sequence[dict]): Custom hooks besides ours.
        **changes: The config's other keys.
    """
    cfg = dict(
        model=MODEL,
        work_dir=str(work_dir),
        experiment_name=f'short_run_{next(NUMBERS)}',
        default_scope='mmpretrain',
        train_dataloader=loader(20, True),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4))
        | dict(optim),
        param_scheduler=dict(type='LinearLR', by_epoch=False, end=100),
        default_hooks=dict(
            runtime_info=dict(type='mmrazor_byot.RuntimeInfoHook'),
            logger=dict(type='LoggerHook', interval=2),
        )
        | dict(default_hooks),
        custom_hooks=[*HOOKS, *hooks],
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        randomness=dict(seed=1),
        log_level='WARNING',
    )
    return Config(copy.deepcopy(cfg | changes))


def train(work_dir, epochs=2, **changes) -> Runner:
    """Train, see :func:`config`.

    Returns:
        Runner: After training.
    """
    runner = Runner.from_cfg(config(work_dir, epochs, **changes))
    runner.train()
    return runner


def logged(runner) -> list:
    """All that a run has logged, line by line."""
    text = Path(runner.log_dir, 'vis_data/scalars.json').read_text()
    return [json.loads(line) for line in text.splitlines()]


def saved(runner, epoch) -> dict:
    """The checkpoint of an epoch, counted from 1."""
    return torch.load(f'{runner.work_dir}/epoch_{epoch}.pth', weights_only=False)


def assert_close(a: dict, b: dict, **tolerance) -> None:
    """Weights of two runs are equal, or close with a tolerance."""
    assert a.keys() == b.keys()
    for name in a:
        if tolerance:
            torch.testing.assert_close(a[name], b[name], **tolerance, msg=name)
        else:
            assert torch.equal(a[name], b[name]), name
