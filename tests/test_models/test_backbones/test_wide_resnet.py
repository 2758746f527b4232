"""WideResNet_CIFAR against its paper (arXiv 1605.07146)."""

import pytest
import torch
import torch.nn.functional as F
from by_definition import norm, shake
from torch import nn

from mmrazor_byot.models.backbones import WideResNet_CIFAR
from mmrazor_byot.models.backbones.wide_resnet import WideBasicBlock


def num_params(depth, widen_factor, classes=10):
    """Parameters of the whole classifier, counted without memory."""
    with torch.device('meta'):
        net = WideResNet_CIFAR(depth, widen_factor)
        head = nn.Linear(net.feat_dim, classes)
    return sum(p.numel() for p in [*net.parameters(), *head.parameters()])


# Millions, as the paper prints them in its table of CIFAR results.
@pytest.mark.parametrize(
    'depth, widen_factor, printed',
    [
        *((16, 8, 11.0), (16, 10, 17.1), (22, 8, 17.2), (22, 10, 26.8), (28, 10, 36.5)),
        *((28, 12, 52.5), (40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (40, 8, 35.7)),
    ],
)
def test_published_parameter_counts(depth, widen_factor, printed):
    assert round(num_params(depth, widen_factor) / 1e6, 1) == printed


@pytest.mark.parametrize('byot, wrn, blocks', [(20, 22, 3), (44, 46, 7)])
def test_both_ways_of_counting_name_the_same_network(byot, wrn, blocks):
    assert num_params(byot, 8) == num_params(wrn, 8)
    with torch.device('meta'):
        net = WideResNet_CIFAR(byot, 8)
    for stage in (net.layer1, net.layer2, net.layer3):
        assert sum(isinstance(m, WideBasicBlock) for m in stage) == blocks


@pytest.mark.parametrize('depth', [21, 4, -2])
def test_other_depths_are_refused(depth):
    formulas = r'depths 6n \+ 4 \(10, 16, 22, \.\.\.\) or 6n \+ 2 \(8, 14, 20, \.\.\.\)'
    with pytest.raises(ValueError, match=f'{formulas}, got {depth}'):
        WideResNet_CIFAR(depth, 1)


def test_width_below_one_is_refused():
    with pytest.raises(ValueError, match='widen_factor must be 1 or more'):
        WideResNet_CIFAR(10, 0)


@pytest.mark.parametrize('channels, stride', [(4, 1), (6, 1), (6, 2)])
def test_block_by_hand(channels, stride):
    block = shake(WideBasicBlock(4, channels, stride))
    x = torch.randn(2, 4, 8, 8)
    pre = norm(x, block.norm1).clamp(min=0)
    want = F.conv2d(pre, block.conv1.weight, stride=stride, padding=1)
    want = norm(want, block.norm2).clamp(min=0)
    want = F.conv2d(want, block.conv2.weight, padding=1)
    if channels == 4:
        assert block.shortcut is None
        want = want + x
    else:
        # The projection reads what BN and ReLU made of the input.
        want = want + F.conv2d(pre, block.shortcut.weight, stride=stride)
    torch.testing.assert_close(block(x), want)


def test_dropout_acts_in_training_only():
    block = shake(WideBasicBlock(4, 4, drop_rate=0.5))
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(x), block(x))
    block.dropout.train()
    assert not torch.equal(block(x), block(x))
