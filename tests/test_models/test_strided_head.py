import pytest
import torch
from by_definition import conv_bn_relu

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.heads import StridedHead


@pytest.mark.parametrize(
    'downsample, widths, size',
    [
        (1, [6], 8),
        (2, [6], 4),
        (3, [6, 8], 2),  # two halvings come nearest from below
        (8, [6, 8, 8], 1),  # no wider than half of the 16
    ],
)
def test_by_definition(downsample, widths, size):
    head = StridedHead(4, 16, num_classes=3, downsample=downsample, growth=1.5)
    for buffer in head.buffers():
        if buffer.ndim:
            buffer.uniform_(0.5, 1.5)
    head.eval()
    assert [m.conv.out_channels for m in head.convs] == widths
    x = y = torch.randn(2, 4, 8, 8)
    for module in [*head.convs, head.expand]:
        y = conv_bn_relu(y, module)
    assert y.shape == (2, 16, size, size)
    feature = y.mean(dim=(2, 3))
    out = head(x)
    torch.testing.assert_close(out.feature, feature)
    torch.testing.assert_close(out.logits, feature @ head.fc.weight.T + head.fc.bias)


def test_growth():
    for growth, widths in [(1.0, [4, 4, 4]), (2.0, [8, 16, 32]), ((1, 2, 2), [4, 8, 16])]:
        head = StridedHead(4, 100, num_classes=3, downsample=8, growth=growth)
        assert [m.conv.out_channels for m in head.convs] == widths


def test_initialization():
    head = StridedHead(64, 512, 100, downsample=8)
    head.init_weights()
    assert head.fc.weight.std().item() == pytest.approx(0.01, rel=0.05)
    conv = head.convs[0].conv.weight  # Kaiming, fan out: 96 x 3 x 3
    assert conv.std().item() == pytest.approx((2 / (96 * 9)) ** 0.5, rel=0.05)


@pytest.mark.parametrize('act', [dict(type='ReLU'), None])
def test_feature_has_both_signs_if_asked_to(act):
    head = StridedHead(6, 16, 3, downsample=2, out_act_cfg=act)
    feature, _ = head(torch.randn(4, 6, 4, 4))
    assert (feature.min() < 0) == (act is None)


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(num_classes=0), 'num_classes=0'),
        (dict(growth=0), 'growth=0'),
        (dict(downsample=0), 'downsample=0'),
        (dict(growth=(2, 0), downsample=4), r'growth=\(2, 0\)'),
        (dict(growth=(2, 2), downsample=8), 'has 3 strided convolutions'),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        StridedHead(**{**dict(in_channels=4, out_channels=8, num_classes=2), **settings})
