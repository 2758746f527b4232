"""A checkpoint of another network is refused."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmrazor_byot.engine import CheckpointCheckHook
from mmrazor_byot.errors import CheckpointError

TRAINING_STATE = dict(meta={}, message_hub={}, optimizer={})
STRICT = ['test', 'test with a train_cfg', 'resume', 'auto-resume']


def network(out=4):
    """Keys 0.weight, 0.bias, 1.weight ... 1.num_batches_tracked, 2.weight."""
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, out, bias=False))


def check(task, state, model=None, **others):
    """As MMEngine's Runner does when it has read a checkpoint."""
    runner = SimpleNamespace(
        model=model or network(),
        work_dir='work',
        _load_from=None if task == 'auto-resume' else 'work/a.pth',
        _resume=task in ('resume', 'auto-resume'),
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
            lambda s: s.update(network(5).state_dict()),
            'other shapes: 2.weight is (5, 3), not (4, 3)',
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


@pytest.mark.parametrize('task', ['resume', 'auto-resume'])
@pytest.mark.parametrize('missing', TRAINING_STATE)
def test_resuming_takes_the_training_state(task, missing):
    others = {k: v for k, v in TRAINING_STATE.items() if k != missing}
    assert f'has no {missing}, ' in refused(task, network().state_dict(), **others)
