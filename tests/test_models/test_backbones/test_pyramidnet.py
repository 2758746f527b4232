"""PyramidNet_CIFAR against its paper (arXiv 1610.02915)."""

import pytest
import torch
import torch.nn.functional as F
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


def shake(module):
    """Give BN layers weights and statistics away from 0 and 1."""
    torch.manual_seed(0)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias)
            nn.init.normal_(m.running_mean)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
    module.eval()
    return module


def norm(x, bn):
    return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias)


# The size of the last feature map is printed in the paper's table. The exact counts are those of an
# independent implementation, imgclsmob's model table.
@pytest.mark.parametrize(
    'depth, alpha, bottleneck, feat_dim, params',
    [
        (110, 48, False, 64, 1_772_706),
        (110, 84, False, 100, 3_904_446),
        (110, 270, False, 286, 28_485_477),
        (164, 270, True, 1144, 27_216_021),
        (200, 240, True, 1024, 26_752_702),
        (236, 220, True, 944, 26_969_046),
        (272, 200, True, 864, 26_210_842),
    ],
)
def test_exact_parameter_counts(depth, alpha, bottleneck, feat_dim, params):
    model = classifier(depth, alpha, bottleneck)
    assert model[0].feat_dim == feat_dim
    assert num_params(model) == params


# The paper's numbers for bottlenecks agree with the convolutions alone.
@pytest.mark.parametrize(
    'depth, alpha, printed',
    [(164, 270, 27.0), (200, 240, 26.6), (236, 220, 26.8), (272, 200, 26.0)],
)
def test_published_counts_of_bottleneck_networks(depth, alpha, printed):
    convs = num_params(classifier(depth, alpha, True), nn.Conv2d)
    assert round(convs / 1e6, 1) == printed


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


def test_later_published_count():
    # CutMix (arXiv 1905.04899), by an author of PyramidNet among others, has 26.8 M for 200/240
    # with 100 classes: every parameter counted.
    assert round(num_params(classifier(200, 240, True, 100)) / 1e6, 1) == 26.8


def test_byot_network():
    net = classifier(101, 240, True, 100)[0]
    for stage in (net.layer1, net.layer2, net.layer3):
        assert sum(isinstance(m, pyramidnet.PyramidBlock) for m in stage) == 11
    # Widths 16 + 80, 16 + 160 and 16 + 240, four times as many channels.
    assert net.stage_channels == (384, 704, 1024)


def test_widths_by_hand():
    # 16 + 45 / 9 a block; then thirds: 19.33, 22.67, 26.
    widths = pyramidnet.additive_widths
    assert widths(45, 9) == [21, 26, 31, 36, 41, 46, 51, 56, 61]
    assert widths(10, 3) == [19, 23, 26]
    assert widths(48, 54)[:4] == [17, 18, 19, 20]


@pytest.mark.parametrize(
    'depth, bottleneck, channels', [(20, False, (31, 46, 61)), (29, True, (124, 184, 244))]
)
def test_stage_shapes(depth, bottleneck, channels):
    net = PyramidNet_CIFAR(depth, 45, bottleneck, out_indices=(0, 1, 2))
    net.eval()
    maps = net(torch.randn(2, 3, 16, 16))
    for i, (out, width) in enumerate(zip(maps, channels, strict=True)):
        assert out.shape == (2, width, 16 >> i, 16 >> i)
    widths = [b.residual[1].out_channels for b in net.layer2[:3]]
    assert widths == [36, 41, 46]


@pytest.mark.parametrize(
    'depth, bottleneck, message',
    [
        (101, False, r'basic blocks takes depths 6n \+ 2 \(8, 14, 20, .* 101'),
        (100, True, r'bottleneck blocks takes depths 9n \+ 2 \(11, 20, .* 100'),
        (2, False, 'got 2'),
    ],
)
def test_other_depths_are_refused(depth, bottleneck, message):
    with pytest.raises(ValueError, match=message):
        PyramidNet_CIFAR(depth, 48, bottleneck)


@pytest.mark.parametrize('alpha', [0, -3])
def test_alpha_must_be_positive(alpha):
    with pytest.raises(ValueError, match=f'alpha .* positive, got {alpha}'):
        PyramidNet_CIFAR(20, alpha)


@pytest.mark.parametrize('stride', [1, 2])
def test_basic_block_by_hand(stride):
    block = shake(pyramidnet.PyramidBlock(4, 6, stride))
    x = torch.randn(2, 4, 8, 8)
    bn1, conv1, bn2, _, conv2, bn3 = block.residual
    want = F.conv2d(norm(x, bn1), conv1.weight, stride=stride, padding=1)
    want = F.conv2d(norm(want, bn2).clamp(min=0), conv2.weight, padding=1)
    want = norm(want, bn3)
    want[:, :4] += x if stride == 1 else F.avg_pool2d(x, 2)
    torch.testing.assert_close(block(x), want)


@pytest.mark.parametrize('stride', [1, 2])
def test_bottleneck_block_by_hand(stride):
    block = shake(pyramidnet.PyramidBlock(4, 3, stride, bottleneck=True))
    x = torch.randn(2, 4, 8, 8)
    bn1, conv1, bn2, _, conv2, bn3, _, conv3, bn4 = block.residual
    want = F.conv2d(norm(x, bn1), conv1.weight)
    want = F.conv2d(norm(want, bn2).clamp(min=0), conv2.weight, stride=stride, padding=1)
    want = norm(F.conv2d(norm(want, bn3).clamp(min=0), conv3.weight), bn4)
    assert want.shape[1] == 12
    want[:, :4] += x if stride == 1 else F.avg_pool2d(x, 2)
    torch.testing.assert_close(block(x), want)


def test_shortcut_alone():
    # With the last BN at zero only the shortcut is left.
    for size in (8, 7):
        for stride in (1, 2):
            block = shake(pyramidnet.PyramidBlock(3, 5, stride))
            nn.init.zeros_(block.residual[-1].weight)
            nn.init.zeros_(block.residual[-1].bias)
            x = torch.randn(2, 3, size, size)
            out = block(x)
            assert out.shape[-1] == -(-size // stride)
            assert (out[:, 3:] == 0).all()
            if stride == 1:
                assert torch.equal(out[:, :3], x)
            else:
                first = x[:, :, :2, :2].mean((2, 3))
                torch.testing.assert_close(out[:, :3, 0, 0], first)
                # An odd size leaves a last row and column of their own.
                last = x[:, :, 6:, 6:].mean((2, 3))
                torch.testing.assert_close(out[:, :3, -1, -1], last)


def test_only_the_last_stage_is_normalized():
    net = shake(PyramidNet_CIFAR(8, 12, out_indices=(0, 1, 2)))
    sums = []
    for stage in (net.layer1, net.layer2, net.layer3):
        assert hasattr(stage, 'norm') == (stage is net.layer3)
        stage[0].register_forward_hook(lambda _, __, out: sums.append(out))
    maps = net(torch.randn(2, 3, 16, 16))
    for i in (0, 1):
        assert torch.equal(maps[i], sums[i]) and maps[i].min() < 0
    torch.testing.assert_close(maps[2], norm(sums[2], net.layer3.norm).clamp(min=0))


def test_stem_has_no_relu():
    net = shake(PyramidNet_CIFAR(8, 12))
    x = torch.randn(2, 3, 16, 16)
    conv, bn = net.stem
    want = norm(F.conv2d(x, conv.weight, padding=1), bn)
    assert want.min() < 0
    torch.testing.assert_close(net.stem(x), want)
