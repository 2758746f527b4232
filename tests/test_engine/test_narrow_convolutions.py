"""Networks that torch cannot train in NHWC on a CPU are refused."""

import pytest
import torch
from torch import nn

from mmrazor_byot.compat.torch import check_narrow_convolutions
from mmrazor_byot.errors import ConfigError


@pytest.mark.parametrize(
    'conv', [nn.Conv2d(4, 8, 1, 2), nn.Conv2d(15, 8, 1, (1, 2)), nn.Conv2d(32, 32, 1, 2, groups=4)]
)
def test_refused(conv):
    model = nn.Sequential(nn.ReLU(), nn.Sequential(conv))
    with pytest.raises(ConfigError) as caught:
        check_narrow_convolutions(model, 'channels_last')
    message = str(caught.value)
    assert 'channels_last: on a CPU' in message
    assert f'such as 1.0 with {conv.in_channels} ' in message
    assert 'remove channels_last' in message


@pytest.mark.parametrize(
    'conv',
    [
        nn.Conv2d(16, 8, 1, 2),
        nn.Conv2d(4, 8, 1),
        nn.Conv2d(4, 8, 3, 2),
        nn.Conv2d(4, 8, 1, 2, device='meta'),
    ],
)
def test_taken(conv):
    check_narrow_convolutions(nn.Sequential(conv), 'compile')


@pytest.mark.parametrize('channels', [16, 20, 32])
def test_what_is_taken_is_computed_right(channels):
    """Gradients in NHWC are those of NCHW."""
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, 8, 1, 2, bias=False)
    channels_last = nn.Conv2d(channels, 8, 1, 2, bias=False)
    channels_last.load_state_dict(plain.state_dict())
    channels_last.to(memory_format=torch.channels_last)
    x = torch.randn(8, channels, 16, 16)
    for conv, layout in ((plain, torch.contiguous_format), (channels_last, torch.channels_last)):
        conv(x.contiguous(memory_format=layout)).square().sum().backward()
    torch.testing.assert_close(channels_last.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-3)
