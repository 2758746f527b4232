"""Exits on a network of plain torch: what it computes, and what can be done with it."""

import copy
import io
import pickle
import re
import sys
import threading
from collections import OrderedDict
from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision
from run import run, script, succeeded
from small import AFTER, SIZE, Small, images, labelled, paper_loss, target, trained
from torch import nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.vgg import cfgs, make_layers

from mmrazor_byot.early_exit import StagedNetwork
from mmrazor_byot.exits import BottleneckHead, LogitLoss, StridedHead, add_exits
from mmrazor_byot.models import BYOT

LAYERS = ['layer1', 'layer2', 'layer3']
#: ResNet-18 as the architecture of BYOT.
RESNETS = dict(
    ImageClassifier=dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=18),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=512),
    ),
    TorchClassifier=dict(
        type='mmrazor_byot.TorchClassifier',
        network=dict(type='torchvision.models.resnet18', num_classes=5),
        after=LAYERS,
    ),
)


@pytest.fixture
def model():
    return add_exits(Small(), AFTER, SIZE)


def by_hand(model, x):
    """Feature and logits of each exit, module by module."""
    net, (head1, head2) = model.net, model.exit_heads
    first = net.first(x)
    second = net.second(first)
    gated = second * net.gate(second.mean((2, 3))).sigmoid()[..., None, None]
    feature = net.third(gated).mean((2, 3))
    return [head1(first), head2(second), (feature, net.fc(feature))]


def gradients(model):
    return {k: None if p.grad is None else p.grad.clone() for k, p in model.named_parameters()}


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_logits_of_every_exit(model):
    x = images()
    model.eval()
    expected = [logits for _, logits in by_hand(model, x)]
    answers = model(x)
    assert isinstance(answers, tuple) and same(answers, expected)
    sections = model.forward_sections(x)
    assert [tuple(m.shape) for m in sections.maps] == [(6, 8, 16, 16), (6, 16, 8, 8)]
    assert sections.feature.shape == (6, 32)  # of the classifier, though another is named later
    assert same(model(sections), expected)
    assert (model.num_exits, model.num_classes, model.input_size) == (3, 5, (3, 16, 16))


def test_loss_and_gradients_by_definition(model):
    x, y = images(), target()
    other = copy.deepcopy(model)
    terms = model.loss(x, y)
    assert list(terms) == [
        *(f'exit{i}.{loss}_loss' for i in (1, 2) for loss in ('label', 'logit', 'hint')),
        'exit3.label_loss',
    ]
    loss, expected = sum(terms.values()), paper_loss(by_hand(other, x), y)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    expected.backward()
    ours, theirs = gradients(model), gradients(other)
    assert [k for k, g in ours.items() if g is None] == ['net.unused.weight', 'net.unused.bias']
    for name, gradient in theirs.items():
        if gradient is not None:
            torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_the_network_is_left_as_it_was():
    net = Small()
    net.third[1].eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    x, modes = images(), [m.training for m in net.modules()]
    expected = copy.deepcopy(net).eval()(x)
    model = add_exits(net, AFTER, SIZE)
    assert [m.training for m in net.modules()] == modes
    assert model.net is net
    names = {k.removeprefix('net.') for k in model.state_dict() if k.startswith('net.')}
    assert names == set(before)
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in before.items())
    net.eval()
    assert torch.equal(net(x), expected)
    assert torch.equal(model.eval()(x)[-1], expected)


@pytest.mark.parametrize('kind', RESNETS)
def test_the_same_as_byot(kind):
    plain = add_exits(torchvision.models.resnet18(num_classes=5), LAYERS, 32)
    byot = BYOT(RESNETS[kind])
    own = {}  # its names for the same weights
    for name in plain.state_dict():
        if kind == 'ImageClassifier':
            own[name] = name.replace('net.fc', 'architecture.head.fc')
            own[name] = own[name].replace('net.', 'architecture.backbone.')
        else:
            own[name] = name.replace('net.', 'architecture.model.')
    byot.load_state_dict({own[name]: value for name, value in plain.state_dict().items()})
    x, y = images(4, 32), target(4)
    ours, expected = plain.loss(x, y), byot.loss_terms(x, y)
    assert ours.keys() == expected.keys() and len(ours) == 10
    for name in ours:
        assert ours[name].item() == pytest.approx(expected[name].item(), abs=1e-6), name
    sum(ours.values()).backward()
    sum(expected.values()).backward()
    theirs = dict(byot.named_parameters())
    assert len(theirs) == 62 + 3 * 11
    for name, parameter in plain.named_parameters():
        a, b = parameter.grad, theirs[own[name]].grad
        assert (a - b).abs().max() <= 1e-6 + 1e-5 * b.abs().max(), name


def test_weights_are_saved_and_loaded(model, tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    other = add_exits(Small(), AFTER, SIZE)
    safe = add_exits(Small(), AFTER, SIZE)
    assert not torch.equal(other.net.fc.weight, model.net.fc.weight)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    safetensors.save_model(model, str(tmp_path / 'a.safetensors'))
    safetensors.load_model(safe, str(tmp_path / 'a.safetensors'))
    x = images()
    for loaded in (other, safe, pickle.loads(pickle.dumps(model))):
        assert same(loaded.eval()(x), model.eval()(x))
    plain = Small()
    plain.load_state_dict(model.net.state_dict())
    assert torch.equal(plain.eval()(x), model(x)[-1])


def test_copies_are_independent(model):
    other, x = copy.deepcopy(model).eval(), images()
    expected = model.eval()(x)
    with torch.no_grad():
        other.net.first[0].weight.zero_()
    assert same(model(x), expected)
    changed = other(x)
    assert not any(torch.equal(a, b) for a, b in zip(changed, expected))
    # In the middle of a run of the copy, the original collects its own.
    sections = other.forward_sections(x)
    other.net.third.register_forward_hook(lambda *_: model(-x) and None)
    assert same(other(x), changed)
    assert torch.equal(other.forward_sections(x).feature, sections.feature)


def test_exits_twice_on_one_network():
    net = Small()
    one, two = add_exits(net, AFTER, SIZE), add_exits(net, ['second'], SIZE, freeze=True)
    x = images()
    one.eval(), two.eval()
    first, second, third = by_hand(one, x)
    assert same(one(x), [first[1], second[1], third[1]])
    assert same(two(x), [two.exit_heads[0](one.forward_sections(x).maps[1])[1], third[1]])


def test_a_module_can_have_any_name():
    names = 'feature', 'logits', 'pool', 'flat', 'fc'
    modules = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    net = nn.Sequential(OrderedDict(zip(names, (*modules, nn.Linear(6, 5)))))
    sections = add_exits(net, ['feature', 'logits'], SIZE).forward_sections(images())
    assert [m.shape[1] for m in sections.maps] == [4, 6] and sections.feature.shape == (6, 6)


def test_threads_do_not_mix_their_images(model):
    """As in a server: each thread has its own images."""
    model.eval()
    batches = [images(n) * n for n in range(1, 9)]
    expected, wrong = [model(x) for x in batches], []

    def work(x, answers):
        wrong.extend(n for n in range(10) if not same(model(x), answers))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(batches, expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_failed_run_leaves_no_trace(model):
    x = images()
    expected = model.eval()(x)
    with pytest.raises(RuntimeError):
        model(x[:, :2])
    model.net(-x)
    assert same(model(x), expected)


def test_compiled(model):
    x, y = images(), target()
    other = copy.deepcopy(model)
    expected = other.loss(x, y)
    sum(expected.values()).backward()
    compiled = torch.compile(model, backend='aot_eager', fullgraph=True)
    terms = compiled(x, y)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)
    sum(terms.values()).backward()
    torch.testing.assert_close(model.net.first[0].weight.grad, other.net.first[0].weight.grad)


def test_two_processes_have_the_gradients_of_one():
    text = succeeded(script(Path(__file__).with_name('two_processes.py'), ranks=2))
    found = re.findall(r'(\w+): worst (\S+), largest (\S+)', text)
    assert [name for name, *_ in found] == ['trained', 'frozen']
    for _, worst, largest in found:
        assert float(worst) < 1e-6 and float(largest) > 1e-2


@torch.no_grad()
@pytest.mark.parametrize('after', [AFTER, ['first.1', 'second.0']])
def test_early_exit(after):
    """Also where the next module works in place on the feature map."""
    model = add_exits(Small(), after, SIZE)
    x = images()
    network = StagedNetwork(model)
    expected = model.eval()(x)
    for logits, whole in zip(network(x), expected, strict=True):
        torch.testing.assert_close(logits, whole)
    state, logits = network.stage(1, (x,))
    torch.testing.assert_close(logits, expected[0])
    state, logits = network.stage(2, tuple(s[4:] for s in state))
    torch.testing.assert_close(logits, expected[1][4:])


def test_half_and_double_precision():
    net = Small().double()
    x, y = images().double(), target()
    double = add_exits(net, AFTER, SIZE)
    assert {p.dtype for p in double.parameters()} == {torch.float64}
    sum(double.loss(x, y).values()).backward()
    half = add_exits(Small().bfloat16(), AFTER, SIZE)
    assert {z.dtype for z in half(images().bfloat16())} == {torch.bfloat16}


def test_heads_and_losses_can_be_chosen():
    class OwnHead(nn.Module):
        """Takes only what it needs."""

        def __init__(self, in_channels, num_classes):
            super().__init__()
            self.fc = nn.Linear(in_channels, num_classes)

        def forward(self, x):
            feature = x.mean((2, 3))
            return feature, self.fc(feature)

    heads = [partial(StridedHead, growth=2), OwnHead]
    losses = dict(label_loss=nn.CrossEntropyLoss(label_smoothing=0.1), hint_loss=None)
    model = add_exits(Small(), AFTER, SIZE, heads, logit_loss=None, **losses)
    assert [type(head) for head in model.exit_heads] == [StridedHead, OwnHead]
    widths = [conv.conv.out_channels for conv in model.exit_heads[0].convs]
    assert widths == [16, 16]  # twice, and at most half of the 32 of the deepest feature
    terms = model.loss(images(), target())
    assert list(terms) == ['exit1.label_loss', 'exit2.label_loss', 'exit3.label_loss']
    log_q = model(images())[1].log_softmax(1)
    picked = log_q[range(6), target()]
    expected = -(0.9 * picked + 0.1 * log_q.mean(1)).mean()
    torch.testing.assert_close(terms['exit2.label_loss'], expected)


@pytest.mark.parametrize('learned', ['labels', 'deepest exit', 'both'])
def test_frozen_in_a_plain_loop(learned):
    """The network keeps every bit, batch norm included; its exits learn."""
    losses: dict = dict(hint_loss=None)
    if learned == 'labels':
        losses['logit_loss'] = None
    if learned == 'deepest exit':
        losses.update(label_loss=None, logit_loss=LogitLoss(2))
    model = add_exits(trained(), AFTER, SIZE, freeze=True, **losses)
    x, y = labelled(80, 1)
    labels = None if learned == 'deepest exit' else y
    before = {k: v.clone() for k, v in model.net.state_dict().items()}
    expected = model.eval()(x)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    average = torch.optim.swa_utils.AveragedModel(model, use_buffers=True)
    model.train()
    assert not any(m.training for m in model.net.modules())
    assert all(m.training for m in model.exit_heads.modules())
    for _ in range(30):
        optimizer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=learned == 'both'):
            loss = sum(model(x, labels, mode='loss').values())
        loss.backward()
        optimizer.step()
        average.update_parameters(model)
    for found in (model, average.module):
        assert all(torch.equal(v, found.net.state_dict()[k]) for k, v in before.items())
    unseen, y = labelled(100, 2)
    then, now = (
        [(logits.argmax(1) == y).float().mean().item() for logits in answers.eval()(unseen)]
        for answers in (add_exits(trained(), AFTER, SIZE), model)
    )
    assert torch.equal(model(x)[-1], expected[-1])
    assert now[-1] == then[-1] > 0.85
    assert all(now[i] > then[i] + 0.15 for i in (0, 1))


NETWORKS = {
    # name: kernel (and stride) of the heads, which is the map's size over that of the deepest map
    'torchvision resnet18': (LAYERS, 32, [8, 4, 2]),
    'torchvision mobilenet_v2': (['features.3', 'features.6', 'features.13'], 64, [8, 4, 2]),
    'torchvision mobilenet_v3_small': (['features.1', 'features.3', 'features.8'], 64, [8, 4, 2]),
    'torchvision vgg11_bn': (['features.7', 'features.14', 'features.21'], 32, [8, 4, 2]),
    'torchvision densenet121': (['features.denseblock1', 'features.denseblock2'], 64, [8, 4]),
    'torchvision convnext_tiny': (['features.1', 'features.3', 'features.5'], 64, [8, 4, 2]),
    'torchvision swin_t': (['features.1', 'features.3', 'features.5'], 64, [8, 4, 2]),
    'timm resnet18': (LAYERS, 32, [8, 4, 2]),
    'timm efficientnet_b0': (['blocks.1', 'blocks.2', 'blocks.4'], 64, [8, 4, 2]),
    'timm mobilenetv3_small_050': (['blocks.0', 'blocks.1', 'blocks.3'], 64, [8, 4, 2]),
    'timm convnext_atto': (['stages.0', 'stages.1', 'stages.2'], 64, [8, 4, 2]),
    'timm swin_tiny_patch4_window7_224': (['layers.0', 'layers.1', 'layers.2'], 64, [8, 4, 2]),
}


DEPTHS = [1, 1, 1, 1]
#: Arguments that make networks small.
TINY_SWIN = dict(embed_dim=8, depths=DEPTHS, num_heads=[1, 1, 2, 2])
SETTINGS = {
    'torchvision mobilenet_v2': dict(width_mult=0.25),
    'torchvision densenet121': dict(growth_rate=4, block_config=DEPTHS, num_init_features=8),
    'torchvision swin_t': dict(TINY_SWIN, patch_size=[4, 4], window_size=[2, 2]),
    'timm convnext_atto': dict(depths=DEPTHS, dims=[4, 8, 12, 16]),
    'timm swin_tiny_patch4_window7_224': dict(TINY_SWIN, img_size=64, window_size=2),
}
CLASSES = {
    'torchvision densenet121': torchvision.models.DenseNet,
    'torchvision swin_t': torchvision.models.SwinTransformer,
}


def build(name):
    library, network = name.split()
    settings = SETTINGS.get(name, {})
    if library == 'timm':
        return pytest.importorskip('timm').create_model(network, num_classes=5, **settings)
    if network == 'convnext_tiny':
        stages = [CNBlockConfig(n, 2 * n if n < 32 else None, 1) for n in (4, 8, 16, 32)]
        return torchvision.models.ConvNeXt(stages, num_classes=5)
    make = CLASSES.get(name, getattr(torchvision.models, network))
    if network == 'vgg11_bn':  # its classifier would have 100 million weights
        net = torchvision.models.VGG(make_layers(cfgs['A'], batch_norm=True), init_weights=False)
        net.classifier = nn.Sequential(nn.Linear(512 * 49, 16), nn.ReLU(), nn.Linear(16, 5))
        return net
    return make(num_classes=5, **settings)


@pytest.mark.parametrize('name', NETWORKS)
def test_networks_of_others(name):
    after, size, downsample = NETWORKS[name]
    net = build(name).eval()
    x = images(2, size)
    expected = net(x)
    model = add_exits(net, after, size).eval()
    found = [head.bottleneck[1].conv.stride[0] for head in model.exit_heads]
    assert [2 if d == 1 else d for d in found] == downsample
    maps = model.forward_sections(x).maps
    assert [max(m.shape[2:]) for m in maps] == [d * size // 32 for d in downsample]
    assert [head.bottleneck[0].conv.in_channels for head in model.exit_heads] == [
        m.shape[1] for m in maps
    ]
    answers = model(x)
    assert [tuple(z.shape) for z in answers] == [(2, 5)] * (len(after) + 1)
    assert torch.equal(answers[-1], expected)
    terms = model.train().loss(x, target(2))
    sum(terms.values()).backward()
    assert all(p.grad is not None for p in model.exit_heads.parameters())


def test_swins_maps_have_their_channels_first():
    net = build('torchvision swin_t').eval()
    kept = []
    net.features[3].register_forward_hook(lambda module, inputs, output: kept.append(output))
    model = add_exits(net, ['features.3'], 64).eval()
    (feature_map,) = model.forward_sections(images(2, 64)).maps
    assert kept[-1].shape == (2, 8, 8, 16)
    assert torch.equal(feature_map, kept[-1].permute(0, 3, 1, 2))


def test_it_imports_torch_alone():
    packages = 'mmengine', 'mmcv', 'mmpretrain', 'mmrazor', 'torchvision', 'cv2', 'rich'
    code = f"""
import sys
from torch import nn
from mmrazor_byot.exits import add_exits
pooling = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
add_exits(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), *pooling), ['0'], 16)
print(sorted(set({packages}) & set(sys.modules)))
"""
    done = run(sys.executable, '-c', code)
    assert (done.returncode, done.stdout, done.stderr) == (0, '[]\n', '')


def test_heads_default_to_those_of_the_paper(model):
    assert all(type(head) is BottleneckHead for head in model.exit_heads)
    assert [head.bottleneck[1].conv.kernel_size for head in model.exit_heads] == [(4, 4), (2, 2)]
    assert all(head.fc.bias.abs().max() == 0 for head in model.exit_heads)  # drawn by init_weights
