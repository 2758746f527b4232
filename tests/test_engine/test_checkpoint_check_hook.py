"""A checkpoint of another network is refused."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from short_runs import EMA, config, train
from torch import nn

from mmrazor_byot.engine import CheckpointCheckHook
from mmrazor_byot.errors import CheckpointError

TRAINING_STATE = dict(meta={}, message_hub={}, optimizer={})
STRICT = ['test', 'test with a train_cfg', 'resume', 'auto-resume']


def network(out=4, width=3):
    """Keys 0.weight, 0.bias, 1.weight ... 1.num_batches_tracked, 2.weight, 2.bias."""
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, out))


def check(task, state, model=None, hooks=(), **others):
    """As MMEngine's Runner does when it has read a checkpoint."""
    runner = SimpleNamespace(
        model=model or network(),
        work_dir='work',
        _load_from=None if task == 'auto-resume' else 'work/a.pth',
        _resume=task in ('resume', 'auto-resume'),
        hooks=hooks,
        # Built for training only; a config or nothing otherwise.
        _train_loop={'test': None, 'test with a train_cfg': dict(max_epochs=2)}.get(task, object()),
    )
    CheckpointCheckHook().after_load_checkpoint(runner, dict(others, state_dict=state))


def refused(*args, **kwargs):
    with pytest.raises(CheckpointError) as caught:
        check(*args, **kwargs)
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('task', [*STRICT, 'fine-tune'])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_fits(task, prefix):
    """Training state is for resuming only; old checkpoints have no counters of batches."""
    state = {prefix + k: v for k, v in network().state_dict().items() if 'tracked' not in k}
    check(task, state, **(TRAINING_STATE if 'resume' in task else {}))


def test_wrapped_model():
    model = nn.DataParallel(network())
    check('test', network().state_dict(), model)
    assert 'does not fit the Sequential: other' in refused('test', network(5).state_dict(), model)


@pytest.mark.parametrize('task', STRICT)
@pytest.mark.parametrize(
    'change, difference',
    [
        (lambda s: s.update(x=torch.ones(1)), 'unexpected: x'),
        (
            lambda s: s.update({'0.bias': s['0.bias'].int()}),
            'other types: 0.bias is torch.int32, not torch.float32',
        ),
        (
            lambda s: s.update(network(5).state_dict()),
            'other shapes: 2.weight is (5, 3), not (4, 3), 2.bias is (5,), not (4,)',
        ),
        (
            lambda s: [s.pop(f'1.{k}') for k in ('weight', 'running_var')],
            'missing: 1.weight, 1.running_var',
        ),
    ],
)
def test_differences(task, change, difference):
    state = network().state_dict()
    change(state)
    message = refused(task, state, **TRAINING_STATE)
    assert message.endswith(f'does not fit the Sequential: {difference}')
    named = 'the last checkpoint in work' if task == 'auto-resume' else 'checkpoint "work/a.pth"'
    assert message.startswith(named)


def test_fine_tuning():
    """From a part or with another head, but not from nothing."""
    state = network().state_dict()
    for kept in (['1.bias'], ['0.weight', '0.bias', '2.weight']):
        check('fine-tune', {k: state[k] for k in kept})
    check('fine-tune', network(5).state_dict())
    state = {f'x.{k}': v for k, v in network().state_dict().items()}
    assert 'missing: 0.weight' in refused('fine-tune', state)
    other = nn.Sequential(nn.Linear(9, 9)).state_dict()
    assert '0.weight is (9, 9), not (3, 2)' in refused('fine-tune', other)


def test_fine_tuning_from_another_width():
    """The counters of batches and the last bias fit any width."""
    wide = network(width=6).state_dict()
    model = network().state_dict()
    assert [k for k in wide if wide[k].shape == model[k].shape] == [
        '1.num_batches_tracked',
        '2.bias',
    ]
    assert 'other shapes: 0.weight is (6, 2), not (3, 2)' in refused('fine-tune', wide)
    assert '0.bias is (6,)' in refused('fine-tune', {'0.bias': wide['0.bias']})
    complex_bias = {**model, '2.bias': model['2.bias'].to(torch.complex64)}
    assert '2.bias is torch.complex64, not torch.float32' in refused('fine-tune', complex_bias)


@pytest.mark.parametrize('task', ['resume', 'auto-resume'])
@pytest.mark.parametrize('missing', TRAINING_STATE)
def test_resuming_takes_the_training_state(task, missing):
    others = {k: v for k, v in TRAINING_STATE.items() if k != missing}
    assert f'has no {missing}, ' in refused(task, network().state_dict(), **others)


@pytest.mark.parametrize('task', ['resume', 'auto-resume'])
def test_resuming_an_average_takes_its_hook(task):
    state = network().state_dict()
    average = {'steps': torch.tensor(3), **{f'module.{k}': v for k, v in state.items()}}
    others = dict(TRAINING_STATE, ema_state_dict=average)
    message = refused(task, state, **others)
    assert 'config has no EMAHook: add the custom hook' in message and 'load_from' in message
    check(task, state, hooks=[EMAHook()], **others)
    check('fine-tune', state, **others)
    average['module.2.bias'] = torch.ones(5)
    message = refused(task, state, hooks=[EMAHook()], **others)
    assert '(ema_state_dict) does not fit the Sequential: other shapes: 2.bias is (5,)' in message


def test_the_average_is_checked_before_it_is_loaded(tmp_path):
    """MMEngine's hook would raise torch's error of many lines."""
    train(tmp_path, 1, hooks=[EMA])
    path = tmp_path / 'epoch_1.pth'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['ema_state_dict']['module.exit_heads.0.fc.bias'] = torch.ones(7)
    torch.save(checkpoint, path)
    hooks = [EMA, dict(type='mmrazor_byot.CheckpointCheckHook')]
    runner = Runner.from_cfg(config(tmp_path, 2, load_from=str(path), resume=True, hooks=hooks))
    with pytest.raises(CheckpointError, match=r'exit_heads.0.fc.bias is \(7,\), not \(5,\)'):
        runner.train()
