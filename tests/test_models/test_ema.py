"""Our moving average is MMEngine's."""

import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage as MMEngineEMA
from torch import nn

from mmrazor_byot.registry import MODELS


class Network(nn.Module):
    """Weights in two layouts, batch norm, and a buffer that is not saved."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer('scratch', torch.ones(2), persistent=False)


def change(network, seed):
    """As a training step does, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in (*network.parameters(), *network.buffers()):
            if value.is_floating_point():
                value.add_(torch.randn(value.shape, generator=generator))
            else:
                value.add_(1)


def pair(**settings):
    network = Network()
    theirs = MMEngineEMA(network, momentum=0.3, **settings)
    ours = MODELS.build(
        dict(type='mmrazor_byot.ExponentialMovingAverage', model=network, momentum=0.3, **settings)
    )
    return network, theirs, ours


def step_and_compare(network, theirs, ours, seed):
    change(network, seed)
    theirs.update_parameters(network)
    ours.update_parameters(network)
    theirs, ours = theirs.state_dict(), ours.state_dict()
    assert list(theirs) == list(ours)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-6, atol=1e-7, msg=name)


@pytest.mark.parametrize('update_buffers', [False, True])
@pytest.mark.parametrize('interval', [1, 3])
def test_seven_steps(update_buffers, interval):
    network, theirs, ours = pair(update_buffers=update_buffers, interval=interval)
    for seed in range(7):
        step_and_compare(network, theirs, ours, seed)
    assert ours.steps == 7


def test_by_hand():
    """0.7 a + 0.3 b, and the first time b."""
    network, _, ours = pair()
    values = []
    for seed in range(3):
        change(network, seed)
        values.append(network.conv.bias.detach().clone())
        ours.update_parameters(network)
    expected = 0.7 * (0.7 * values[0] + 0.3 * values[1]) + 0.3 * values[2]
    torch.testing.assert_close(ours.module.conv.bias, expected)


def test_checkpoints_are_mmengines():
    """One goes on where the other stopped."""
    network, theirs, ours = pair()
    for seed in range(3):
        change(network, seed)
        theirs.update_parameters(network)
    ours.update_parameters(network)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    for seed in range(3, 5):
        step_and_compare(network, theirs, ours, seed)


def test_another_model_may_be_averaged():
    network, theirs, ours = pair()
    for source in (network, Network(), network):
        step_and_compare(source, theirs, ours, 5)
