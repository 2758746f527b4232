"""Params and FLOPs of the network cut at each exit."""

import logging
from pathlib import Path

import pytest
import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from torch import nn

from mmrazor_byot.evaluation import exit_complexity, stage_flops
from mmrazor_byot.registry import MODELS

MODEL_CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'


class TwoSections(nn.Module):
    """Two convolutions, and after each a linear classifier of 5 classes.

    On images of 3 x 8 x 8, params and multiply-adds are

    * first: 3 * 4 * 9 + 4 = 112, and 8 * 8 * 4 * 27 = 6,912
    * second: 4 * 6 * 9 + 6 = 222, and 4 * 4 * 6 * 36 = 3,456
    * shallow: 256 * 5 + 5 = 1,285, and 256 * 5 = 1,280
    * deep: 96 * 5 + 5 = 485, and 96 * 5 = 480
    """

    num_exits = 2

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.shallow = nn.Linear(4 * 8 * 8, 5)
        self.deep = nn.Linear(6 * 4 * 4, 5)

    def forward(self, inputs, mode='tensor'):
        assert mode == 'tensor'
        x = self.first(inputs)
        return self.shallow(x.flatten(1)), self.deep(self.second(x).flatten(1))


class Plain(nn.Sequential):
    """The deep one alone; like mmpretrain's it has no number of exits."""

    def forward(self, inputs, mode='tensor'):
        return super().forward(inputs)


#: The cut network has neither later sections nor other heads.
BY_HAND = [
    dict(exit='1/2', params=112 + 1285, flops=6912 + 1280),
    dict(exit='2/2', params=112 + 222 + 485, flops=6912 + 3456 + 480),
    dict(exit='ensemble', params=112 + 1285 + 222 + 485, flops=6912 + 1280 + 3456 + 480),
]


def test_two_sections_by_hand():
    assert exit_complexity(TwoSections(), (3, 8, 8)) == BY_HAND
    assert stage_flops(TwoSections(), (3, 8, 8)) == dict(
        sections=[6912, 3456 + 480], heads=[1280, 0]
    )


def test_plain_network():
    net = TwoSections()
    plain = Plain(net.first, net.second, nn.Flatten(), net.deep)
    assert exit_complexity(plain, (3, 8, 8)) == [dict(BY_HAND[1], exit='1/1')]
    assert stage_flops(plain, (3, 8, 8)) == dict(sections=[6912 + 3456 + 480], heads=[0])


def test_model_is_left_as_it_was(monkeypatch):
    """Training half way, one section frozen, with a gradient, in half."""
    model = TwoSections().half().train()
    model.second.eval()
    model.first.requires_grad_(False)
    model.deep.bias.grad = torch.full((5,), 2, dtype=torch.half)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    logger = logging.getLogger('mmengine')
    monkeypatch.setattr(logger, 'level', logging.INFO)

    assert exit_complexity(model, (3, 8, 8)) == BY_HAND

    training = {k for k, m in model.named_modules() if m.training}
    assert training == {'', 'first', 'shallow', 'deep'}
    learns = {k for k, p in model.named_parameters() if p.requires_grad}
    assert learns == set(before) - {'first.weight', 'first.bias'}
    for name, p in model.named_parameters():
        assert p.dtype == torch.half and torch.equal(p, before[name])
        assert (p.grad is None) == (name != 'deep.bias')
    assert model.deep.bias.grad.tolist() == [2] * 5
    assert not any(m._forward_hooks for m in model.modules())
    assert logger.level == logging.INFO


def build(config):
    return MODELS.build(Config.fromfile(MODEL_CONFIGS / config).model)


def test_resnet18():
    """11.22 M params and 0.56 G FLOPs, with or without exits."""
    costs = exit_complexity(build('byot_resnet18_cifar.py'), (3, 32, 32))
    plain = exit_complexity(build('resnet18_cifar.py'), (3, 32, 32))
    names = ['1/4', '2/4', '3/4', '4/4', 'ensemble']
    assert [cost['exit'] for cost in costs] == names
    assert costs[3]['params'] == 11_220_132
    assert 0.5565e9 < costs[3]['flops'] < 0.5568e9
    assert plain == [dict(costs[3], exit='1/1')]
    flops = [cost['flops'] for cost in costs]
    assert flops == sorted(set(flops))
    # Exit 1: the stem, two blocks, and the head with an 8 x 8 convolution, each convolution with
    # the two numbers a channel of its batch norm.
    stem = 3 * 64 * 9 + 128
    blocks = 4 * (64 * 64 * 9 + 128)
    bottleneck = 64 * 64 + 128 + 64 * 64 * 64 + 128 + 64 * 512 + 1024
    classifier = 512 * 100 + 100
    assert costs[0]['params'] == stem + blocks + bottleneck + classifier


class SharedLater(nn.Module):
    """Exit 3 takes a map that exit 1 made and exit 2 has no use for.

    On images of 3 x 8 x 8: ``side`` costs 64 * 3 * 2 = 384 multiply-adds; the classifiers 64 * 2 *
    5 = 640, 64 * 3 * 5 = 960 and 640.
    """

    num_exits = 3

    def __init__(self):
        super().__init__()
        self.side = nn.Conv2d(3, 2, 1)
        self.one, self.three = nn.Linear(128, 5), nn.Linear(128, 5)
        self.two = nn.Linear(192, 5)

    def forward(self, inputs, mode='tensor'):
        side = self.side(inputs).flatten(1)
        return self.one(side), self.two(inputs.flatten(1)), self.three(side)


def test_what_a_deeper_exit_needs_is_no_head():
    assert stage_flops(SharedLater(), (3, 8, 8)) == dict(
        sections=[384, 0, 640], heads=[640, 960, 0]
    )


@pytest.mark.parametrize(
    'config',
    [
        dict(),
        dict(with_cp=True),
        # Each map has a norm of its own for its exit; nothing else reads it.
        dict(
            type='ConvNeXt',
            arch=dict(depths=[1] * 4, channels=[4, 8, 16, 32]),
            gap_before_final_norm=False,
        ),
    ],
    ids=['resnet', 'with_cp', 'convnext'],
)
def test_stages_add_up(build_byot, tiny_architecture, config):
    backbone = tiny_architecture['backbone']
    if 'type' in config:
        backbone.clear()
    backbone.update(config)
    model = build_byot(sections=(0, 1, 2, 3))
    stages = stage_flops(model, (3, 32, 32))
    sections, heads = stages['sections'], stages['heads']
    *cuts, ensemble = [c['flops'] for c in exit_complexity(model, (3, 32, 32))]
    assert [sum(sections[: i + 1]) + heads[i] for i in range(4)] == cuts
    assert sum(sections) + sum(heads) == ensemble
    assert min(sections) > 0 and min(heads[:3]) > 0 and heads[3] == 0
    with torch.no_grad():
        maps = model.architecture.backbone(torch.zeros(1, 3, 32, 32))
    for feature_map, head, counted in zip(maps, model.exit_heads, heads):
        alone = FlopAnalyzer(head.eval(), feature_map)
        alone.unsupported_ops_warnings(False)
        norm = 5 * feature_map.numel() if 'type' in config else 0
        assert counted == alone.total() + norm


def test_checkpointed_backbone(build_byot, tiny_architecture):
    """Checkpoints save memory: they change neither params nor FLOPs."""
    plain = exit_complexity(build_byot(), (3, 32, 32))
    tiny_architecture['backbone']['with_cp'] = True
    model = build_byot()
    assert exit_complexity(model, (3, 32, 32)) == plain
    assert model.architecture.backbone.layer1[0].with_cp
