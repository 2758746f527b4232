"""Clipping without a wait, and mixed precision on a CPU."""

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper as MMEngineOptimWrapper
from torch import nn

from mmrazor_byot.engine.optim_wrappers import amp_optim_wrapper
from mmrazor_byot.engine.optim_wrappers.amp_optim_wrapper import half_precision
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import OPTIM_WRAPPERS

HAS_FLOAT16 = hasattr(torch.amp, 'GradScaler')


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def build(model, name='OptimWrapper', **settings):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return OPTIM_WRAPPERS.build(dict(type=f'mmrazor_byot.{name}', optimizer=optimizer, **settings))


def step(model, wrapper, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, 4, generator=generator)
    y = torch.randint(0, 3, (6,), generator=generator)
    with wrapper.optim_context(model):
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, y)
    wrapper.update_params(loss)
    return logits, loss


@pytest.mark.parametrize(
    'clip',
    [
        dict(max_norm=0.1),
        dict(max_norm=100.0),
        dict(max_norm=0.2, norm_type=1),
        dict(type='value', clip_value=0.01),
    ],
)
def test_clipping_is_mmengines(clip):
    hub = MessageHub.get_instance(f'clip {clip}')
    found = []
    for kind in ('theirs', 'ours'):
        model = network()
        if kind == 'theirs':
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            wrapper = MMEngineOptimWrapper(optimizer, clip_grad=dict(clip))
        else:
            wrapper = build(model, clip_grad=dict(clip))
        model[2].bias.requires_grad_(False)  # has no gradient to clip
        for seed in range(3):
            step(model, wrapper, seed)
        norms = hub.log_scalars.get('train/grad_norm')
        found.append((norms and norms.data[0].tolist(), model.state_dict()))
        hub.log_scalars.clear()
    (norms, weights), (our_norms, our_weights) = found
    assert our_norms == norms
    assert (norms is None) == ('clip_value' in clip)
    assert all(torch.equal(weights[k], our_weights[k]) for k in weights)


def test_bfloat16_by_hand():
    """One step of it is autocast, backward and SGD."""
    model = network()
    wrapper = build(model, 'AmpOptimWrapper', dtype='bfloat16')
    logits, loss = step(model, wrapper)
    assert logits.dtype == torch.bfloat16 and loss.dtype == torch.float32
    other = network()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, generator=generator)
    y = torch.randint(0, 3, (6,), generator=generator)
    with torch.autocast('cpu', torch.bfloat16):
        expected = nn.functional.cross_entropy(other(x), y)
    expected.backward()
    assert torch.equal(loss, expected)
    for ours, theirs in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad)
    assert not wrapper.loss_scaler.is_enabled()


def test_a_cpu_is_given_bfloat16():
    assert build(network(), 'AmpOptimWrapper').cast_dtype == torch.bfloat16


@pytest.mark.skipif(not HAS_FLOAT16, reason='from torch 2.3 on')
@pytest.mark.parametrize(
    'loss_scale, scale',
    [('dynamic', 65536), (128.0, 128), (8, 8), (dict(init_scale=32.0, growth_interval=1), 64)],
)
def test_float16_is_scaled(loss_scale, scale):
    """The scale is taken off again before the step, and clipped behind it."""
    models = [network(), network()]
    settings = dict(clip_grad=dict(max_norm=0.1))
    scaled = build(models[0], 'AmpOptimWrapper', dtype='float16', loss_scale=loss_scale, **settings)
    plain = build(models[1], **settings)
    logits, _ = step(models[0], scaled)
    step(models[1], plain)
    assert logits.dtype == torch.float16
    assert scaled.loss_scaler.get_scale() == scale
    for a, b in zip(models[0].parameters(), models[1].parameters()):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(not HAS_FLOAT16, reason='from torch 2.3 on')
def test_an_overflow_is_skipped():
    model = network()
    before = [p.clone() for p in model.parameters()]
    wrapper = build(model, 'AmpOptimWrapper', dtype='float16')
    with wrapper.optim_context(model):
        loss = model(torch.ones(1, 4)).sum() * float('inf')
    wrapper.update_params(loss)
    assert all(map(torch.equal, before, model.parameters()))
    assert wrapper.loss_scaler.get_scale() == 32768


@pytest.mark.parametrize('old', ['bfloat16', 'float16', 'none'])
@pytest.mark.parametrize('new', ['bfloat16', 'float16', 'none'])
def test_resuming_with_another_precision(old, new):
    """Momentum comes along, and the scale where both have one."""
    if 'float16' in (old, new) and not HAS_FLOAT16:
        pytest.skip('from torch 2.3 on')

    def make(dtype):
        model = network()
        if dtype == 'none':
            return model, build(model)
        return model, build(model, 'AmpOptimWrapper', dtype=dtype)

    model, wrapper = make(old)
    step(model, wrapper)
    if old == 'float16':
        wrapper.loss_scaler.update(new_scale=256.0)
    state = wrapper.state_dict()
    other, resumed = make(new)
    resumed.load_state_dict(state)
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
    'settings, message',
    [
        (dict(dtype='float32'), "dtype='float32'): choose from"),
        (dict(dtype='half'), "dtype='half'): choose from"),
        (dict(dtype=torch.int8), "dtype='torch.int8'): choose from"),
        (dict(loss_scale='static'), "loss_scale='static'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError) as caught:
        build(network(), 'AmpOptimWrapper', **settings)
    assert message in str(caught.value)


def test_what_each_device_has(monkeypatch):
    cuda = torch.cuda
    monkeypatch.setattr(torch.version, 'hip', None)
    for capability, best in (
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((9, 0), torch.bfloat16),
    ):
        monkeypatch.setattr(cuda, 'get_device_capability', lambda c=capability: c)
        assert half_precision(None, 'cuda') == best
        assert half_precision('float16', 'cuda') == torch.float16
    monkeypatch.setattr(cuda, 'get_device_capability', lambda: (7, 0))
    with pytest.raises(ConfigError, match='this GPU has no bfloat16'):
        half_precision('bfloat16', 'cuda')
    assert half_precision(torch.bfloat16, 'cpu') == torch.bfloat16
    monkeypatch.delattr(amp_optim_wrapper.torch.amp, 'GradScaler', raising=False)
    with pytest.raises(ConfigError, match='no float16 on a CPU'):
        half_precision('float16', 'cpu')
