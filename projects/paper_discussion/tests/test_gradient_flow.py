"""Gradients by layer, against formulas and against autograd by hand."""

import copy

import pytest
import torch
from gradient_flow import (
    Layer,
    common_layers,
    mean_gradients,
    running_order,
    section_starts,
    trunk_layers,
)
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import nn

from mmrazor_byot.errors import ConfigError, NonFiniteLossError


class Chain(BaseModel):
    """f = w2 w1 x, and its mean is the loss."""

    def __init__(self, w1, w2):
        super().__init__()
        self.later = nn.Linear(1, 1, bias=False)  # registered before it runs
        self.first = nn.Linear(1, 1, bias=False)
        self.unused = nn.Linear(1, 1)
        nn.init.constant_(self.first.weight, w1)
        nn.init.constant_(self.later.weight, w2)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        answer = self.later(self.first(inputs))
        return dict(loss=answer) if mode == 'loss' else answer


def chain_batch(*values):
    inputs = torch.tensor(values)[:, None]
    return dict(inputs=inputs, data_samples=[DataSample()] * len(inputs))


def test_gradients_by_hand():
    """The mean of x is 2 and -1: dL/dw1 = w2 x, dL/dw2 = w1 x."""
    model = Chain(3.0, -5.0)
    batches = [chain_batch(1.0, 3.0), chain_batch(-1.0, -1.0)]
    assert mean_gradients(model, batches) == pytest.approx(
        dict(first=5 * (2 + 1) / 2, later=3 * (2 + 1) / 2)
    )


def test_order_is_that_of_running():
    image = torch.ones(1, 1)
    assert running_order(Chain(1.0, 1.0), image) == ['first', 'later']
    assert trunk_layers(Chain(1.0, 1.0), image) == [Layer('first', 1), Layer('later', 1)]


def test_no_batch_and_broken_weights():
    with pytest.raises(ConfigError, match='no training batch'):
        mean_gradients(Chain(1.0, 1.0), [])
    with pytest.raises(NonFiniteLossError, match='loss is nan'):
        mean_gradients(Chain(float('nan'), 1.0), [chain_batch(1.0)])


@pytest.fixture
def batches(batch):
    images, samples = batch(10)
    return [dict(inputs=images[i : i + 5], data_samples=samples[i : i + 5]) for i in (0, 5)]


def by_hand(model, batches):
    """Mean magnitudes by torch.autograd.grad, in training mode."""
    model = copy.deepcopy(model)
    model.train()
    named = {n: p for n, p in model.named_parameters() if p.ndim > 1}
    total = dict.fromkeys(named, 0.0)
    for data in batches:
        loss = sum(model.loss(data['inputs'], data['data_samples']).values())
        for name, grad in zip(named, torch.autograd.grad(loss, named.values())):
            total[name] += float(grad.abs().mean()) / len(batches)
    return {name.removesuffix('.weight'): v for name, v in total.items()}


def test_gradients_of_all_losses(build_byot, batches):
    model = build_byot()
    expected = {
        name.removeprefix('architecture.'): value for name, value in by_hand(model, batches).items()
    }
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.eval()
    found = mean_gradients(model, batches)
    assert found == pytest.approx(expected, rel=1e-4)
    assert any(name.startswith('exit_heads.0.') for name in found)
    # Neither weights nor batch-norm statistics moved.
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())


def test_the_last_section_learns_as_in_the_plain_network(build_byot, batches):
    """Only the deepest label loss reaches it: the teacher is detached."""
    model = build_byot()
    for p in model.architecture.head.fc.parameters():
        nn.init.normal_(p)
    byot = mean_gradients(model, batches)
    plain = mean_gradients(model.architecture, batches)
    for name in plain:
        same = name.startswith(('backbone.layer4', 'head'))
        assert (byot[name] == pytest.approx(plain[name], rel=1e-4)) == same


def test_a_frozen_layer_is_left_out(build_byot, batches):
    model = build_byot()
    model.architecture.backbone.conv1.weight.requires_grad_(False)
    found = mean_gradients(model, batches)
    assert 'backbone.conv1' not in found
    assert 'backbone.layer1.0.conv1' in found


def test_layers_and_sections(build_byot):
    model = build_byot()
    image = torch.zeros(1, 3, 32, 32)
    layers = trunk_layers(model, image)
    names = [layer.name for layer in layers]
    assert names[:3] == ['backbone.conv1', 'backbone.layer1.0.conv1', 'backbone.layer1.0.conv2']
    assert names[-1] == 'head.fc' and len(names) == 1 + 16 + 3 + 1
    shortcut = names.index('backbone.layer2.0.downsample.0')
    assert names[shortcut - 1] == 'backbone.layer2.0.conv2'
    for layer in layers:
        stage = layer.name.removeprefix('backbone.layer')[0]
        expected = dict(b=1, h=4).get(stage) or int(stage)
        assert layer.section == expected, layer
    assert section_starts(layers) == [5, 10, 15]

    plain = trunk_layers(model.architecture, image)
    assert {layer.section for layer in plain} == {1}
    assert common_layers(dict(a=layers, b=plain)) == names
    with pytest.raises(ConfigError, match='a has 21 layers and b has 20'):
        common_layers(dict(a=layers, b=plain[1:]))


def test_section_starts():
    layers = [Layer('', section) for section in (1, 1, 3, 1, 3, 4)]
    assert section_starts(layers) == [2, 5]
    assert section_starts(layers[:2]) == []
