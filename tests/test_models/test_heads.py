import pytest
import torch
from by_definition import conv_bn_relu
from torch import nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.heads import BottleneckHead, build_exit_head
from mmrazor_byot.registry import MODELS


@pytest.mark.parametrize('downsample, kernel', [(1, 3), (2, 2), (4, 4)])
def test_bottleneck_head_by_definition(downsample, kernel):
    head = BottleneckHead(in_channels=6, out_channels=8, num_classes=3, downsample=downsample)
    for buffer in head.buffers():
        if buffer.ndim:
            buffer.uniform_(0.5, 1.5)
    head.eval()
    x = torch.randn(2, 6, 8, 8)
    first, middle, last = head.bottleneck
    assert middle.conv.weight.shape == (2, 2, kernel, kernel)
    y = conv_bn_relu(conv_bn_relu(conv_bn_relu(x, first), middle), last)
    assert y.shape == (2, 8, 8 // downsample, 8 // downsample)
    feature = y.mean(dim=(2, 3))
    logits = feature @ head.fc.weight.T + head.fc.bias
    out = head(x)
    torch.testing.assert_close(out.feature, feature)
    torch.testing.assert_close(out.logits, logits)


def test_initialization():
    head = BottleneckHead(64, 512, 100, downsample=8)
    head.init_weights()
    assert head.fc.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert head.fc.bias.abs().max() == 0
    conv = head.bottleneck[1].conv.weight  # Kaiming, fan out
    assert conv.std().item() == pytest.approx((2 / (64 * 64)) ** 0.5, rel=0.05)
    assert (head.bottleneck[2].bn.weight == 1).all()


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(num_classes=0), 'num_classes=0'),
        (dict(in_channels=0), 'in_channels=0'),
        (dict(reduction=9), 'reduction=9.*from 1 to the 8'),
    ],
)
def test_bad_settings(settings, message):
    good = dict(in_channels=4, out_channels=8, num_classes=2)
    with pytest.raises(ConfigError, match=message):
        BottleneckHead(**{**good, **settings})


def test_only_what_a_head_asks_for_is_filled_in():

    class Head(nn.Module):
        def __init__(self, in_channel, num_classes, width=3):
            super().__init__()
            self.told = in_channel, num_classes, width

    cfg = dict(type=Head, width=7)
    head = build_exit_head(cfg, in_channels=4, out_channels=8, num_classes=2, downsample=2)
    assert head.told == (4, 2, 7)
    assert cfg == dict(type=Head, width=7)


def test_the_config_has_the_last_word():
    cfg = dict(type='mmrazor_byot.BottleneckHead', downsample=1, reduction=2)
    head = build_exit_head(cfg, in_channels=4, out_channels=8, num_classes=2, downsample=2)
    assert head.bottleneck[1].conv.stride == (1, 1)
    assert head.bottleneck[1].conv.out_channels == 4


def test_unknown_head():
    with pytest.raises(ConfigError, match='no model "NoHead"'):
        build_exit_head(dict(type='NoHead'), 1, 1, 1, 1)
    assert MODELS.get('mmrazor_byot.BottleneckHead') is BottleneckHead


@pytest.mark.parametrize('act', [dict(type='ReLU'), None])
def test_feature_has_both_signs_if_asked_to(act):
    head = BottleneckHead(6, 16, 3, downsample=2, out_act_cfg=act)
    feature, _ = head(torch.randn(4, 6, 4, 4))
    assert (feature.min() < 0) == (act is None)
    assert feature.max() > 0
