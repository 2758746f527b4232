"""ResNeXt_CIFAR against its paper (arXiv 1611.05431, Sec. 5.3)."""

import pytest
import torch
import torch.nn.functional as F
from by_definition import norm, shake
from torch import nn

from mmrazor_byot.models.backbones import ResNeXt_CIFAR


# The exact count of 16x64d is also that of an independent implementation, imgclsmob's model table.
# The paper's numbers agree with convolutions and classifier; with BN layers 16x64d would print as
# 68.2. Not on the meta device, where mmpretrain's ResNet cannot be built.
@pytest.mark.parametrize('groups, params, printed', [(8, 34_426_698, 34.4), (16, 68_155_210, 68.1)])
def test_published_parameter_counts(groups, params, printed):
    net = ResNeXt_CIFAR(29, groups, 64)
    model = nn.Sequential(net, nn.Linear(net.feat_dim, 10))
    assert sum(p.numel() for p in model.parameters()) == params
    weights = sum(
        p.numel()
        for m in model.modules()
        if isinstance(m, (nn.Conv2d, nn.Linear))
        for p in m.parameters()
    )
    assert round(weights / 1e6, 1) == printed


def test_byot_network():
    net = ResNeXt_CIFAR(29, groups=2)
    for i, stage in enumerate((net.layer1, net.layer2, net.layer3)):
        assert len(stage) == 3
        for block in stage:
            # Two groups of 64, 128, then 256 channels.
            assert block.conv2.groups == 2
            assert block.conv2.out_channels == 2 * 64 * 2**i


@pytest.mark.parametrize('depth', [28, 2])
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=rf'takes depths 9n \+ 2 \(11, 20, 29, .*, got {depth}'):
        ResNeXt_CIFAR(depth)


def test_width_that_mmpretrain_would_ignore_is_refused():
    with pytest.raises(ValueError, match='width_per_group must be 64, got 8'):
        ResNeXt_CIFAR(11, groups=1, width_per_group=8)
    assert ResNeXt_CIFAR(11, groups=1).layer1[0].conv2.out_channels == 64


@pytest.mark.parametrize('stage, stride', [(1, 1), (2, 2)])
def test_block_by_hand(stage, stride):
    net = shake(ResNeXt_CIFAR(11, groups=2, width_per_group=8))
    block = getattr(net, f'layer{stage}')[0]
    x = torch.randn(2, block.in_channels, 8, 8)
    with torch.no_grad():
        mid = norm(F.conv2d(x, block.conv1.weight), block.norm1).clamp(min=0)
        # The grouped conv is one conv for each half of the channels.
        halves = [
            F.conv2d(part, weight, stride=stride, padding=1)
            for part, weight in zip(mid.chunk(2, 1), block.conv2.weight.chunk(2, 0))
        ]
        mid = norm(torch.cat(halves, 1), block.norm2).clamp(min=0)
        want = norm(F.conv2d(mid, block.conv3.weight), block.norm3)
        conv, bn = block.downsample
        want = want + norm(F.conv2d(x, conv.weight, stride=stride), bn)
        torch.testing.assert_close(block(x), want.clamp(min=0))


@pytest.mark.parametrize('settings', [{}, dict(zero_init_residual=True)])
def test_blocks_start_as_the_paper_says(settings):
    net = ResNeXt_CIFAR(depth=11, groups=2, width_per_group=8, **settings)
    net.init_weights()
    assert (net.layer1[0].norm3.weight == 1 - bool(settings)).all()
