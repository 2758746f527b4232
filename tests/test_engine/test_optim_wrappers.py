"""Mixed precision on a CPU."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import OPTIM_WRAPPERS


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def build(model, dtype=None, **settings):
    """Ours, or for ``'none'`` MMEngine's without AMP."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    if dtype == 'none':
        return OptimWrapper(optimizer, **settings)
    return OPTIM_WRAPPERS.build(
        dict(type='mmrazor_byot.AmpOptimWrapper', optimizer=optimizer, dtype=dtype, **settings)
    )


def images_and_labels():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 4, generator=generator), torch.randint(0, 3, (6,), generator=generator)


def step(model, wrapper):
    x, y = images_and_labels()
    with wrapper.optim_context(model):
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, y)
    wrapper.update_params(loss)
    return logits, loss


@pytest.mark.parametrize('dtype', [None, 'bfloat16', torch.bfloat16])
def test_bfloat16_by_hand(dtype):
    """One step of it is autocast, backward and SGD; it is what a CPU is given."""
    model, other = network(), network()
    wrapper = build(model, dtype)
    logits, loss = step(model, wrapper)
    assert logits.dtype == torch.bfloat16 and loss.dtype == torch.float32
    x, y = images_and_labels()
    with torch.autocast('cpu', torch.bfloat16):
        expected = nn.functional.cross_entropy(other(x), y)
    expected.backward()
    assert torch.equal(loss, expected)
    for ours, theirs in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad)
    assert not wrapper.loss_scaler.is_enabled()


@pytest.mark.parametrize(
    'loss_scale, scale',
    [('dynamic', 65536), (128.0, 128), (8, 8), (dict(init_scale=32.0, growth_interval=1), 64)],
)
def test_float16_is_scaled(loss_scale, scale):
    """The scale is taken off again before gradients are clipped."""
    models = [network(), network()]
    settings = dict(clip_grad=dict(max_norm=0.1))
    scaled = build(models[0], 'float16', loss_scale=loss_scale, **settings)
    logits, _ = step(models[0], scaled)
    step(models[1], build(models[1], 'none', **settings))
    assert logits.dtype == torch.float16
    assert scaled.loss_scaler.get_scale() == scale
    for a, b in zip(models[0].parameters(), models[1].parameters()):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_an_overflow_is_skipped():
    model = network()
    before = [p.clone() for p in model.parameters()]
    wrapper = build(model, 'float16')
    with wrapper.optim_context(model):
        loss = model(torch.ones(1, 4)).sum() * float('inf')
    wrapper.update_params(loss)
    assert all(map(torch.equal, before, model.parameters()))
    assert wrapper.loss_scaler.get_scale() == 32768


@pytest.mark.parametrize('old', ['bfloat16', 'float16', 'none'])
@pytest.mark.parametrize('new', ['bfloat16', 'float16', 'none'])
def test_resuming_with_another_precision(old, new):
    """Momentum comes along, and the scale if both have one."""
    model, other = network(), network()
    wrapper, resumed = build(model, old), build(other, new)
    step(model, wrapper)
    if old == 'float16':
        wrapper.loss_scaler.update(new_scale=256.0)
    resumed.load_state_dict(wrapper.state_dict())
    buffers = [
        [s['momentum_buffer'] for s in w.optimizer.state.values()] for w in (wrapper, resumed)
    ]
    assert len(buffers[0]) == 4
    assert all(map(torch.equal, *buffers))
    if new == 'float16':
        scale = resumed.loss_scaler.get_scale()
        assert scale == (256 if old == 'float16' else 65536)
    step(other, resumed)


@pytest.mark.parametrize(
    'settings',
    [dict(dtype='float32'), dict(dtype='half'), dict(dtype=torch.int8), dict(loss_scale='static')],
)
def test_bad_settings(settings):
    (name, value), *_ = settings.items()
    with pytest.raises(ConfigError) as caught:
        build(network(), **settings)
    assert f"AmpOptimWrapper({name}='{value}')" in str(caught.value)


@pytest.mark.parametrize('supported, best', [(True, 'bfloat16'), (False, 'float16')])
def test_the_default_on_a_gpu(monkeypatch, supported, best):
    """bfloat16, unless it would be emulated."""
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cuda')
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: supported)
    for dtype in (None, best):
        assert build(network(), dtype).cast_dtype == getattr(torch, best)
