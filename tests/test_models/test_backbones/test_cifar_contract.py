"""What all CIFAR backbones have in common, whatever their blocks."""

import pytest
import torch
from by_definition import norm, shake
from mmcv.cnn import fuse_conv_bn
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

NETS = {
    'wide': dict(type='mmrazor_byot.WideResNet_CIFAR', depth=10, widen_factor=1),
    'pyramid': dict(type='mmrazor_byot.PyramidNet_CIFAR', depth=8, alpha=10),
    'pyramid_bottleneck': dict(
        type='mmrazor_byot.PyramidNet_CIFAR', depth=11, alpha=10, bottleneck=True
    ),
    'resnext': dict(type='mmrazor_byot.ResNeXt_CIFAR', depth=11, groups=2, width_per_group=8),
}
CHANNELS = {
    'wide': (16, 32, 64),
    'pyramid': (19, 23, 26),
    'pyramid_bottleneck': (76, 92, 104),
    'resnext': (256, 512, 1024),
}
pytestmark = pytest.mark.parametrize('name', list(NETS))


def plain(name, **kwargs):
    """A small network as it starts training."""
    torch.manual_seed(0)
    args = dict(NETS[name], **kwargs)
    net = MODELS.build(args)
    net.init_weights()
    return net


def build(name, **kwargs):
    """For evaluation, with BN weights and statistics away from 0 and 1."""
    return shake(plain(name, **kwargs))


def images(num=2):
    return torch.randn(num, 3, 16, 16)


def test_out_indices_choose_the_stages(name):
    every = build(name, out_indices=(0, 1, 2))
    x = images()
    maps = every(x)
    shapes = [(2, width, 16 >> i, 16 >> i) for i, width in enumerate(CHANNELS[name])]
    assert [m.shape for m in maps] == shapes
    for indices, wanted in [(None, [2]), ((0,), [0]), ((1, 2), [1, 2]), ((2, 0), [0, 2])]:
        net = build(name, **(dict(out_indices=indices) if indices else {}))
        outs = net(x)
        assert isinstance(outs, tuple)
        for out, i in zip(outs, wanted, strict=True):
            assert torch.equal(out, maps[i])


@pytest.mark.parametrize(
    'settings, message',
    [
        *((dict(out_indices=i), 'out_indices must hold .* 0, 1, 2') for i in ((3,), (0, -1), ())),
        *((dict(frozen_stages=i), f'from -1 .* to 3 .*, got {i}') for i in (-2, 4)),
    ],
)
def test_unknown_stages_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        build(name, **settings)


def test_only_the_last_stage_is_normalized(name):
    if name == 'resnext':
        pytest.skip('its blocks have no pre-activation')
    net = build(name, out_indices=(0, 1, 2))
    sums = []
    for stage in (net.layer1, net.layer2, net.layer3):
        assert hasattr(stage, 'norm') == (stage is net.layer3)
        stage[0].register_forward_hook(lambda _, __, out: sums.append(out))
    maps = net(images())
    for i in (0, 1):
        assert torch.equal(maps[i], sums[i]) and maps[i].min() < 0
    torch.testing.assert_close(maps[2], norm(sums[2], net.layer3.norm).clamp(min=0))


@pytest.mark.parametrize('training', [True, False])
def test_returned_maps_are_never_written_to(name, training):
    net = build(name, out_indices=(0, 1, 2))
    net.train(training)
    seen = []
    for stage in (net.layer1, net.layer2, net.layer3):
        stage.register_forward_hook(lambda _, __, out: seen.append((out.clone(), out._version)))
    for out, (copy, version) in zip(net(images()), seen, strict=True):
        assert torch.equal(out, copy)
        assert out._version == version


def test_fx_and_export_agree_with_eager(name):
    net = build(name, out_indices=(0, 1, 2))
    x = images()
    with torch.no_grad():
        eager = net(x)
        traced = torch.fx.symbolic_trace(net)(x)
        exported = torch.export.export(net, (x,)).module()(x)
    for want, one, two in zip(eager, traced, exported, strict=True):
        torch.testing.assert_close(one, want)
        torch.testing.assert_close(two, want)


def test_fusing_conv_and_bn_changes_nothing(name):
    # Fusion goes by the order of the modules, so that has to be the order of the computation.
    net = build(name, out_indices=(0, 1, 2))
    x = images()
    with torch.no_grad():
        before = net(x)
        after = fuse_conv_bn(net)(x)
    assert any(isinstance(m, nn.Identity) for m in net.modules())
    for one, two in zip(after, before, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('frozen', [-1, 0, 1, 2, 3])
def test_frozen_stages(name, frozen):
    net = build(name, frozen_stages=frozen)
    net.train()
    before = {k: v.clone() for k, v in net.named_buffers()}
    net(images())
    for key, value in (*net.named_parameters(), *net.named_buffers()):
        stage = int(key[5]) if key.startswith('layer') else 0
        changes = not torch.equal(value, before[key]) if key in before else value.requires_grad
        assert changes == (stage > frozen), key


def test_norm_eval_keeps_statistics(name):
    net = build(name, norm_eval=True)
    net.train()
    before = {k: v.clone() for k, v in net.named_buffers()}
    net(images())
    assert net.training
    for key, value in net.named_buffers():
        assert torch.equal(value, before[key]), key


def test_init_is_he_over_the_fan_out(name):
    for module in plain(name).modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


def test_plain_classifier_trains(name):
    head = dict(type='LinearClsHead', num_classes=5, in_channels=CHANNELS[name][-1])
    neck = dict(type='GlobalAveragePooling')
    model = MODELS.build(dict(type='ImageClassifier', backbone=NETS[name], neck=neck, head=head))
    samples = [DataSample().set_gt_label(i) for i in (1, 4)]
    loss = model.loss(images(), samples)['loss']
    loss.backward()
    for key, param in model.named_parameters():
        assert param.grad is not None and param.grad.isfinite().all(), key
        if param.ndim == 4:
            assert param.grad.abs().max() > 0, key
    model.eval()
    assert len(model.predict(images())[0].pred_score) == 5
