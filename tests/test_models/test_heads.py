import pytest
import torch
from by_definition import conv_bn_relu, shake
from torch import nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.heads import BottleneckHead, StridedHead, complete_exit_head
from mmrazor_byot.registry import MODELS

both = pytest.mark.parametrize('kind', [BottleneckHead, StridedHead])


def assert_computes(head, layers, size):
    """The layers, pooling and the classifier, by their definition."""
    shake(head)
    x = y = torch.randn(2, 4, 8, 8)
    out = head(x)
    for layer in layers:
        y = conv_bn_relu(y, layer)
    assert y.shape == (2, 16, size, size)
    feature = y.mean(dim=(2, 3))
    torch.testing.assert_close(out.feature, feature)
    torch.testing.assert_close(out.logits, feature @ head.fc.weight.T + head.fc.bias)


@pytest.mark.parametrize('downsample, kernel', [(1, 3), (2, 2), (4, 4)])
def test_bottleneck_head_by_definition(downsample, kernel):
    head = BottleneckHead(4, 16, num_classes=3, downsample=downsample, reduction=8)
    assert head.bottleneck[1].conv.weight.shape == (2, 2, kernel, kernel)
    assert_computes(head, head.bottleneck, 8 // downsample)


@pytest.mark.parametrize(
    'downsample, widths, size',
    [
        (1, [6], 8),
        (2, [6], 4),
        (3, [6, 8], 2),  # two halvings come nearest from below
        (8, [6, 8, 8], 1),  # no wider than half of the 16
    ],
)
def test_strided_head_by_definition(downsample, widths, size):
    head = StridedHead(4, 16, num_classes=3, downsample=downsample, growth=1.5)
    assert [m.conv.out_channels for m in head.convs] == widths
    assert_computes(head, [*head.convs, head.expand], size)


@pytest.mark.parametrize(
    'growth, widths', [(1.0, [4, 4, 4]), (2.0, [8, 16, 32]), ((1, 2, 2), [4, 8, 16])]
)
def test_growth(growth, widths):
    head = StridedHead(4, 100, num_classes=3, downsample=8, growth=growth)
    assert [m.conv.out_channels for m in head.convs] == widths


@both
def test_initialization(kind):
    head = kind(64, 512, 100, downsample=8)
    head.init_weights()
    assert head.fc.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert head.fc.bias.abs().max() == 0
    # Kaiming over the fan out, 64 x 8 x 8 or 96 x 3 x 3.
    conv, fan_out = (
        (head.bottleneck[1], 64 * 64) if kind is BottleneckHead else (head.convs[0], 96 * 9)
    )
    assert conv.conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert (conv.bn.weight == 1).all()


@both
@pytest.mark.parametrize('act', [dict(type='ReLU'), None])
def test_feature_has_both_signs_if_asked_to(kind, act):
    feature, _ = kind(6, 16, 3, downsample=2, out_act_cfg=act)(torch.randn(4, 6, 4, 4))
    assert (feature.min() < 0) == (act is None)
    assert feature.max() > 0


@pytest.mark.parametrize(
    'kind, settings, message',
    [
        (BottleneckHead, dict(num_classes=0), 'num_classes=0'),
        (BottleneckHead, dict(reduction=9), 'reduction=9.*from 1 to the 8'),
        (StridedHead, dict(growth=0), 'growth=0'),
        (StridedHead, dict(downsample=0), 'downsample=0'),
        (StridedHead, dict(growth=(2, 0), downsample=4), r'growth=\(2, 0\)'),
        (StridedHead, dict(growth=(2, 2), downsample=8), 'has 3 strided convolutions'),
    ],
)
def test_bad_settings(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        kind(**{**dict(in_channels=4, out_channels=8, num_classes=2), **settings})


class MMRazorsWords(nn.Module):
    def __init__(self, in_channel, num_classes, width=3):
        super().__init__()


@pytest.mark.parametrize(
    'cfg, filled_in',
    [
        (dict(type=MMRazorsWords, width=7), dict(in_channel=4, num_classes=2)),
        (  # the config has the last word
            dict(type='mmrazor_byot.BottleneckHead', downsample=1, reduction=2),
            dict(in_channels=4, out_channels=8, num_classes=2),
        ),
    ],
)
def test_only_what_a_head_asks_for_is_filled_in(cfg, filled_in):
    before = dict(cfg)
    found = complete_exit_head(cfg, in_channels=4, out_channels=8, num_classes=2, downsample=2)
    assert found == {**before, **filled_in} and cfg == before
    MODELS.build(found)


def test_unknown_head():
    with pytest.raises(ConfigError, match='no model "NoHead"'):
        complete_exit_head(dict(type='NoHead'), 1, 1, 1, 1)
