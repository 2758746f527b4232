"""PyramidNet_CIFAR against its paper (arXiv 1610.02915)."""

import pytest
import torch
import torch.nn.functional as F
from by_definition import norm, shake
from torch import nn

from mmrazor_byot.models.backbones import PyramidNet_CIFAR, pyramidnet


def classifier(depth, alpha, bottleneck, classes=10):
    """The whole classifier, without memory for its weights."""
    with torch.device('meta'):
        net = PyramidNet_CIFAR(depth, alpha, bottleneck)
        return nn.Sequential(net, nn.Linear(net.feat_dim, classes))


def num_params(model, kind=nn.Module):
    modules = [m for m in model.modules() if isinstance(m, kind)]
    return sum(p.numel() for m in modules for p in m.parameters(False))


# The size of the last feature map is printed in the paper's table. The exact counts are those of an
# independent implementation, imgclsmob's model table.
@pytest.mark.parametrize(
    'depth, alpha, bottleneck, feat_dim, params, printed',
    [
        (110, 48, False, 64, 1_772_706, None),
        (110, 84, False, 100, 3_904_446, None),
        (110, 270, False, 286, 28_485_477, None),
        (164, 270, True, 1144, 27_216_021, 27.0),
        (200, 240, True, 1024, 26_752_702, 26.6),
        (236, 220, True, 944, 26_969_046, 26.8),
        (272, 200, True, 864, 26_210_842, 26.0),
    ],
)
def test_parameter_counts(depth, alpha, bottleneck, feat_dim, params, printed):
    model = classifier(depth, alpha, bottleneck)
    assert model[0].feat_dim == feat_dim
    assert num_params(model) == params
    # The paper's numbers for bottlenecks agree with the convolutions alone.
    assert printed in (None, round(num_params(model, nn.Conv2d) / 1e6, 1))


# The paper's numbers for basic networks agree with the multiplicative network of the same printed
# size, all parameters counted, widths floored as in its formula. They cannot be the additive one's:
# its widths at 110/270 are whole, and its convolutions alone make 28.4 M.
@pytest.mark.parametrize('add, mul, printed', [(48, 4.75, 1.7), (84, 8, 3.8), (270, 27, 28.3)])
def test_published_counts_of_basic_networks(monkeypatch, add, mul, printed):
    additive = num_params(classifier(110, add, False))
    monkeypatch.setattr(
        pyramidnet,
        'additive_widths',
        lambda alpha, n: [int(16 * alpha ** (k / n) + 1e-9) for k in range(1, n + 1)],
    )
    count = num_params(classifier(110, mul, False))
    assert round(count / 1e6, 1) == printed and count < additive < 1.04 * count


def test_byot_network():
    net = classifier(101, 240, True, 100)[0]
    stages = (net.layer1, net.layer2, net.layer3)
    for stage in stages:
        assert sum(isinstance(m, pyramidnet.PyramidBlock) for m in stage) == 11
    # Widths 16 + 80, 16 + 160 and 16 + 240, four times as many channels.
    assert [stage[10].out_channels for stage in stages] == [384, 704, 1024]


def test_widths_by_hand():
    # 16 + 45 / 9 a block; then thirds: 19.33, 22.67, 26.
    widths = pyramidnet.additive_widths
    assert widths(45, 9) == [21, 26, 31, 36, 41, 46, 51, 56, 61]
    assert widths(10, 3) == [19, 23, 26]
    assert widths(48, 54)[:4] == [17, 18, 19, 20]


@pytest.mark.parametrize(
    'depth, alpha, bottleneck, message',
    [
        (101, 48, False, r'basic blocks takes depths 6n \+ 2 \(8, 14, 20, .* 101'),
        (100, 48, True, r'bottleneck blocks takes depths 9n \+ 2 \(11, 20, .* 100'),
        (2, 48, False, 'got 2'),
        (20, 0, False, 'alpha .* positive, got 0'),
    ],
)
def test_bad_settings(depth, alpha, bottleneck, message):
    with pytest.raises(ValueError, match=message):
        PyramidNet_CIFAR(depth, alpha, bottleneck)


@pytest.mark.parametrize('bottleneck', [False, True])
@pytest.mark.parametrize('stride', [1, 2])
def test_block_by_hand(stride, bottleneck):
    block = shake(pyramidnet.PyramidBlock(4, 6, stride, bottleneck))
    x = torch.randn(2, 4, 8, 8)
    first, *rest, last = block.residual
    want, strides = norm(x, first), iter([1, stride, 1] if bottleneck else [stride, 1])
    for layer in rest:
        if isinstance(layer, nn.Conv2d):
            padding = layer.weight.shape[-1] // 2
            want = F.conv2d(want, layer.weight, stride=next(strides), padding=padding)
        elif isinstance(layer, nn.BatchNorm2d):
            want = norm(want, layer).clamp(min=0)
    sizes = [1, 3, 1] if bottleneck else [3, 3]
    assert [m.kernel_size[0] for m in rest if isinstance(m, nn.Conv2d)] == sizes
    want = norm(want, last)
    assert want.shape[1] == (24 if bottleneck else 6)
    want[:, :4] += x if stride == 1 else F.avg_pool2d(x, 2)
    torch.testing.assert_close(block(x), want)


def test_an_odd_size_leaves_a_last_row_and_column_of_their_own():
    block = pyramidnet.PyramidBlock(3, 5, 2)
    nn.init.zeros_(block.residual[-1].weight)  # only the shortcut is left
    x = torch.randn(2, 3, 7, 7)
    out = block(x)
    assert out.shape == (2, 5, 4, 4) and (out[:, 3:] == 0).all()
    torch.testing.assert_close(out[:, :3, 0, 0], x[:, :, :2, :2].mean((2, 3)))
    torch.testing.assert_close(out[:, :3, -1, -1], x[:, :, 6, 6])


def test_stem_has_no_relu():
    net = shake(PyramidNet_CIFAR(8, 12))
    x = torch.randn(2, 3, 16, 16)
    conv, bn = net.stem
    want = norm(F.conv2d(x, conv.weight, padding=1), bn)
    assert want.min() < 0
    torch.testing.assert_close(net.stem(x), want)
