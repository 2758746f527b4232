"""A checkpoint of another network is refused."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmrazor_byot.engine import CheckpointCheckHook
from mmrazor_byot.errors import CheckpointError

TRAINING_STATE = dict(meta={}, message_hub={}, optimizer={})


def network(out=4):
    """Keys 0.weight, 0.bias, 1.weight ... 1.num_batches_tracked, 2.weight."""
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, out, bias=False))


def runner(task, model=None):
    """As MMEngine's Runner is when it has read a checkpoint."""
    return SimpleNamespace(
        model=model or network(),
        work_dir='work',
        _load_from=None if task == 'auto-resume' else 'work/a.pth',
        _resume=task in ('resume', 'auto-resume'),
        # Built for training only; a config or nothing otherwise.
        _train_loop={
            'test': None,
            'test with a train_cfg': dict(max_epochs=2),
        }.get(task, object()),
    )


def look(task, state, model=None, wrap=True, **others):
    checkpoint = dict(others, state_dict=state) if wrap else state
    CheckpointCheckHook().after_load_checkpoint(runner(task, model), checkpoint)


def refused(*args, **kwargs):
    with pytest.raises(CheckpointError) as caught:
        look(*args, **kwargs)
    assert '\n' not in str(caught.value)
    return str(caught.value)


STRICT = ['test', 'test with a train_cfg', 'resume', 'auto-resume']


@pytest.mark.parametrize('task', [*STRICT, 'fine-tune'])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_fits(task, prefix):
    state = {prefix + k: v for k, v in network().state_dict().items()}
    look(task, state, **TRAINING_STATE)


def test_bare_state_dict():
    state = network().state_dict()
    look('test', state, wrap=False)
    state['other'] = state.pop('0.bias')
    assert 'missing: 0.bias; unexpected: other' in refused('test', state, wrap=False)


def test_batch_counters_may_be_missing():
    """Checkpoints from before torch 0.4.1 have none."""
    state = network().state_dict()
    del state['1.num_batches_tracked']
    look('test', state)


def test_wrapped_model():
    model = nn.DataParallel(network())
    look('test', network().state_dict(), model)
    assert 'does not fit the Sequential: other' in refused('test', network(5).state_dict(), model)


@pytest.mark.parametrize('task', STRICT)
@pytest.mark.parametrize(
    'change, difference',
    [
        (lambda s: s.pop('0.bias'), 'missing: 0.bias'),
        (lambda s: s.update(x=torch.ones(1)), 'unexpected: x'),
        (
            lambda s: s.update(network(5).state_dict()),
            'other shapes: 2.weight is (5, 3), not (4, 3)',
        ),
        (
            lambda s: [s.pop(f'1.{k}') for k in ('weight', 'running_var')],
            'missing: 1.weight, 1.running_var',
        ),
        (
            lambda s: [s.update({f'head.{k}': s.pop(k)}) for k in list(s)],
            'missing: 0.weight, 0.bias, 1.weight and 4 more; unexpected: head.0.weight, '
            'head.0.bias, head.1.weight and 5 more',
        ),
    ],
)
def test_differences(task, change, difference):
    state = network().state_dict()
    change(state)
    message = refused(task, state, **TRAINING_STATE)
    assert message.endswith(f'does not fit the Sequential: {difference}')
    source = 'checkpoint "work/a.pth"'
    if task == 'auto-resume':
        source = 'the last checkpoint in work'
    assert message.startswith(source)


@pytest.mark.parametrize('kept', [['0.weight'], ['0.weight', '0.bias', '2.weight'], ['1.bias']])
def test_fine_tuning_from_a_part(kept):
    state = network().state_dict()
    look('fine-tune', {k: state[k] for k in kept})


def test_fine_tuning_with_another_head():
    look('fine-tune', network(5).state_dict())


def test_fine_tuning_from_nothing():
    state = {f'x.{k}': v for k, v in network().state_dict().items()}
    assert 'missing: 0.weight' in refused('fine-tune', state)
    other = nn.Sequential(nn.Linear(9, 9)).state_dict()
    assert '0.weight is (9, 9), not (3, 2)' in refused('fine-tune', other)


@pytest.mark.parametrize('task', ['resume', 'auto-resume'])
@pytest.mark.parametrize('missing', TRAINING_STATE)
def test_resuming_takes_the_training_state(task, missing):
    others = {k: v for k, v in TRAINING_STATE.items() if k != missing}
    message = refused(task, network().state_dict(), **others)
    assert f'has no {missing}, so training cannot be resumed' in message
    assert 'set load_from (without --resume)' in message


def test_training_state_is_for_resuming_only():
    for task in ('test', 'fine-tune'):
        look(task, network().state_dict())
