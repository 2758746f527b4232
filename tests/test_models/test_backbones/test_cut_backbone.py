"""Any backbone runs without what comes after one of its maps."""

import pytest
import torch
from torch import nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.backbones import find_unused_modules
from mmrazor_byot.registry import MODELS

SMALL = dict(base_channels=4, stem_channels=4)

#: Type of the backbone, its settings, where to cut it, and what is left out there.
CUTS = [
    ('ResNet', dict(SMALL, depth=50), 1, 'layer3 layer4'),
    ('ResNet_CIFAR', dict(SMALL, depth=18, with_cp=True), 2, 'layer4'),
    ('mmrazor_byot.ResNeXt_CIFAR', dict(depth=11, groups=2, width_per_group=8), 0, 'layer2 layer3'),
    (
        'VGG',
        dict(depth=11, norm_cfg=dict(type='BN')),
        2,
        ' '.join(f'features.{i}' for i in range(7, 13)),
    ),
    ('MobileNetV2', dict(widen_factor=0.25), 4, 'layer6 layer7 conv2'),
    ('EfficientNet', dict(arch='b0'), 3, 'layers.4 layers.5 layers.6'),
    (
        'ConvNeXt',
        dict(arch=dict(depths=[1] * 4, channels=[8, 16, 24, 32]), gap_before_final_norm=False),
        2,
        'downsample_layers.3 stages.3',
    ),
    (
        'SwinTransformer',
        dict(
            arch=dict(embed_dims=12, depths=[2] * 4, num_heads=[1, 2, 3, 4]),
            img_size=64,
            window_size=2,
        ),
        1,
        'stages.1.downsample stages.2 stages.3',
    ),
    ('mmrazor_byot.WideResNet_CIFAR', dict(depth=16, widen_factor=1), 0, 'layer2 layer3'),
    ('mmrazor_byot.PyramidNet_CIFAR', dict(depth=20, alpha=12), 1, 'layer3'),
    (
        'mmrazor_byot.MidBlockResNet_CIFAR',
        dict(SMALL, depth=18),
        2,
        'layer3.1.conv2 layer3.1.bn2 layer4',
    ),
]


def cut_backbone(absent, backbone):
    return MODELS.build(dict(type='mmrazor_byot.CutBackbone', absent=absent, backbone=backbone))


@pytest.mark.parametrize('kind, settings, stage, absent', CUTS)
def test_the_map_is_the_same_without_the_rest(kind, settings, stage, absent):
    cfg = dict(settings, type=kind, out_indices=(stage,))
    absent = absent.split()
    full = MODELS.build(cfg)
    full.eval()
    image = torch.randn(2, 3, 64, 64)
    before = full.state_dict().keys()
    assert find_unused_modules(full, image[:1]) == absent
    assert full.state_dict().keys() == before

    cut = cut_backbone(absent, cfg)
    assert type(cut) is type(full)
    after_exit = tuple(f'{module}.' for module in absent)
    assert list(cut.state_dict()) == [key for key in before if not key.startswith(after_exit)]
    cut.load_state_dict(full.state_dict(), strict=False)
    cut.train()
    cut.eval()
    with torch.no_grad():
        (expected,), (found,) = full(image), cut(image)
    assert torch.equal(expected, found)


def test_nothing_runs_after_the_cut():
    resnet = dict(SMALL, type='ResNet', depth=50, out_indices=(1,))
    cut = cut_backbone(['layer3', 'layer4'], resnet)
    run = []
    for module in cut.modules():
        module.register_forward_hook(lambda m, *_: run.append(type(m)))
    cut(torch.randn(1, 3, 64, 64))
    # The stem's, and 7 blocks of 3 and 2 shortcuts; the other 9 are gone.
    assert run.count(nn.Conv2d) == 1 + 7 * 3 + 2


@pytest.mark.parametrize('absent', ['layer5', 'layer9.conv1'])
def test_a_module_that_is_not_there(absent):
    with pytest.raises(ConfigError, match=f'ResNet has no module "{absent}"'):
        cut_backbone([absent], dict(type='ResNet', depth=18))


def test_mid_block_maps_have_basic_blocks():
    with pytest.raises(ConfigError, match=r'\(depth=50\): only 18 and 34'):
        MODELS.build(dict(type='mmrazor_byot.MidBlockResNet_CIFAR', depth=50))


def test_the_deepest_mid_block_map_is_resnets():
    kinds = 'ResNet_CIFAR', 'mmrazor_byot.MidBlockResNet_CIFAR'
    nets = [MODELS.build(dict(SMALL, type=kind, depth=18)) for kind in kinds]
    nets[1].load_state_dict(nets[0].state_dict())
    image = torch.randn(2, 3, 32, 32)
    for net in nets:
        net.eval()
    assert torch.equal(nets[0](image)[0], nets[1](image)[0])
