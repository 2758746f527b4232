"""What cannot have exits is refused by one line that says why."""

from functools import partial

import pytest
import torch
import torchvision
from small import AFTER, SIZE, Small, images, target
from torch import nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.exits import BottleneckHead, StridedHead, add_exits


def refused(*args, **kwargs):
    with pytest.raises(ConfigError) as caught:
        add_exits(*args, **kwargs)
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('after', ['first', [], None, ['first', 'first'], {'first'}, 3])
def test_no_list_of_names(after):
    assert refused(Small(), after, SIZE).endswith(': give a list of names of modules, each once')


@pytest.mark.parametrize('name', ['', 7, None, ['first'], 'first.9'])
def test_no_module(name):
    assert f'Small has no module {name!r}; s' in refused(Small(), [name], SIZE)


def test_the_nearest_names_are_named():
    net = torchvision.models.resnet18()
    assert "has no module 'layer_1'; similar are ['layer1'" in refused(net, ['layer_1'], 32)
    assert refused(net, ['xyz'], 32).endswith("'xyz'; see net.named_modules()")


def test_wrong_order():
    message = refused(Small(), AFTER[::-1], SIZE)
    assert message == "after: Small runs these modules in the order ['first', 'second']"


def test_a_module_that_does_not_run():
    assert "Small does not run the module 'unused'" in refused(Small(), ['first', 'unused'], SIZE)


class Twice(Small):
    """Runs its first section once more at the end."""

    def forward(self, images):
        x = super().forward(images)
        self.first(images)
        return x


def test_the_last_run_of_a_module_counts():
    message = refused(Twice(), AFTER, SIZE)
    assert message == "after: Twice runs these modules in the order ['second', 'first']"


@pytest.mark.parametrize('name, said', [('fc', 'the last nn.Linear'), ('second', 'second')])
def test_a_module_that_is_replaced(name, said):
    model = add_exits(Small(), AFTER, SIZE)
    setattr(model.net, name, getattr(Small(), name))
    with pytest.raises(ConfigError, match=f'^{said} of the network did not run: was it replaced'):
        model(images())


class Pair(nn.Module):
    """Returns a tuple."""

    def forward(self, x):
        return x, x


class Tokens(nn.Module):
    """As those of a transformer, (N, L, C)."""

    def forward(self, x):
        return x.flatten(2).transpose(1, 2)


class Between(Small):
    """Has another module between its sections."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, images):
        self.module(self.first(images))
        return super().forward(images)


@pytest.mark.parametrize(
    'module, found', [(Pair(), 'a tuple'), (Tokens(), r'(1, 256, 8)'), (nn.Flatten(), '(1, 2048)')]
)
def test_no_feature_map(module, found):
    message = refused(Between(module), ['module'], SIZE)
    assert message == (
        f"after: 'module' of Between returns {found}; sections end with a feature map (N, C, H, W)"
    )


def test_transformers_of_tokens():
    net = torchvision.models.VisionTransformer(32, 16, 2, 2, 16, 16)
    message = refused(net, ['encoder.layers.encoder_layer_0'], 32)
    assert 'VisionTransformer returns (1, 5, 16); sections end with a feature map' in message


class Returns(Small):
    """Makes something of its logits."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(super().forward(images))


@pytest.mark.parametrize(
    'function, part',
    [
        (lambda z: (z, z), 'Returns returns a tuple; a classifier returns logits (N, K)'),
        (lambda z: z[..., None], 'Returns returns (1, 5, 1); a classifier returns logits'),
        (lambda z: z[:, :2], 'the last nn.Linear of Returns takes (1, 32); it should take'),
    ],
)
def test_no_logits(function, part):
    assert part in refused(Returns(function), AFTER, SIZE)


def test_another_answer_in_training():
    """GoogLeNet returns a tuple as long as it trains."""
    net = torchvision.models.googlenet(num_classes=5, init_weights=False)
    model = add_exits(net, ['inception3b'], 64)
    with pytest.raises(ConfigError, match='GoogLeNet returns a GoogLeNetOutputs; a classifier'):
        model.loss(images(2, 64), target(2))
    model.eval()
    assert len(model(images(2, 64))) == 2


def test_no_linear_layer():
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert refused(net, ['0'], SIZE) == (
        'Sequential has no nn.Linear; its last one should return the logits'
    )


def test_a_linear_layer_of_maps():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(14, 5), Tokens(), nn.Flatten())
    assert 'the last nn.Linear of Sequential takes (1, 4, 14, 14); it' in refused(net, ['0'], SIZE)


def test_no_network():
    assert refused('resnet18', ['layer1'], 32).startswith('net is a str; give the classifier')


@pytest.mark.parametrize('size', ['224', None, 0, -1, 2.5, (), (1, 2, 3, 4), ('a',), [32, 0], {32}])
def test_no_size(size):
    assert f'input_size={size}: give S, (H, W) or (C, H, W)' in refused(Small(), AFTER, size)


def test_a_size_that_does_not_fit():
    message = refused(Small(), AFTER, (1, 16, 16))
    start = 'Small cannot run on an image of input_size=(1, 16, 16) (channels, height, width): '
    assert message.startswith(start) and 'expected input[1, 1, 16, 16]' in message


def test_modes_are_restored_after_a_failure():
    net = Small()
    net.first.eval()
    modes = [m.training for m in net.modules()]
    refused(net, AFTER, (1, 16, 16))
    assert [m.training for m in net.modules()] == modes


class Narrow(nn.Module):
    """Returns a feature of 3 and as many logits."""

    def __init__(self, in_channels):
        super().__init__()
        self.fc = nn.Linear(in_channels, 3)

    def forward(self, x):
        x = self.fc(x.mean((2, 3)))
        return x, x


class NarrowFeature(Narrow):
    """As many logits as there are classes."""

    def forward(self, x):
        x, _ = super().forward(x)
        return x, torch.cat([x, x[:, :2]], 1)


@pytest.mark.parametrize(
    'head, part',
    [
        ([BottleneckHead], 'exit_head lists 1 for 2 shallow exits'),
        ([], 'exit_head lists 0 for 2 shallow exits'),
        (None, 'exit_head: None is not the constructor of a head, such as BottleneckHead'),
        ('BottleneckHead', "exit_head: 'BottleneckHead' is not the constructor of a head"),
        (BottleneckHead(8, 32, 5), 'exit_head: BottleneckHead('),
        (nn.Linear, "exit_head: <class 'torch.nn.modules.linear.Linear'> is not the constructor"),
        (partial(BottleneckHead, reduction=99), 'BottleneckHead(reduction=99): must be from 1 to'),
        (partial(StridedHead, growth=[1, 2]), 'StridedHead(growth=[1, 2]): this head has 1 strid'),
        (lambda in_channels: 3, 'makes a int'),
        (lambda: nn.Conv2d(99, 1, 1), 'exit head 1 (Conv2d) cannot take the feature map (1, 8, 16'),
        (lambda: nn.Flatten(), 'exit head 1 (Flatten) cannot take the feature map'),
        (Narrow, 'exit head 1 (Narrow) returns logits (1, 3) for the feature map'),
        (NarrowFeature, 'returns a feature (1, 3); the hint loss needs (1, 32), the shape of'),
    ],
)
def test_heads_that_do_not_fit(head, part):
    assert part in refused(Small(), AFTER, SIZE, head)


def test_a_feature_of_another_width_without_hint_loss():
    model = add_exits(Small(), AFTER, SIZE, NarrowFeature, hint_loss=None)
    assert len(model.loss(images(), target())) == 5


@pytest.mark.parametrize('loss', [0.7, nn.functional.cross_entropy, 'ce', dict(type='LabelLoss')])
@pytest.mark.parametrize('name', ['label_loss', 'logit_loss', 'hint_loss'])
def test_no_loss(name, loss):
    assert refused(Small(), AFTER, SIZE, **{name: loss}).startswith(f'{name}=')


@pytest.mark.parametrize(
    'settings', [{}, dict(freeze=True), dict(label_loss=None)], ids=['all', 'frozen', 'not frozen']
)
def test_no_target(settings):
    model = add_exits(Small(), AFTER, SIZE, **settings)
    for call in (lambda: model.loss(images()), lambda: model(images(), mode='loss')):
        with pytest.raises(ConfigError, match=r'without a target .* label_loss=None\)$'):
            call()
