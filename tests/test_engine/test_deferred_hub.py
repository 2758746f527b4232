"""Scalars are read late, and are MMEngine's to the last bit."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import Runner
from short_runs import VALIDATION, config, logged, saved, train

from mmrazor_byot.engine import DeferredMessageHub, deferred_hub
from mmrazor_byot.engine.fetch import fetch

MMENGINE = dict(
    default_hooks=dict(
        runtime_info=dict(type='RuntimeInfoHook'),
        timer=dict(type='IterTimerHook'),
        logger=dict(type='LoggerHook', interval=2),
    ),
    optim=dict(type='OptimWrapper', clip_grad=dict(max_norm=0.5)),
)
OURS = dict(optim=dict(clip_grad=dict(max_norm=0.5)))


@pytest.fixture
def hubs(request):
    """MMEngine's and ours, which are given the same."""
    name = request.node.name
    theirs, ours = (MessageHub.get_instance(f'{name}_{i}') for i in range(2))
    DeferredMessageHub.take_over(ours)
    return theirs, ours


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock is a quarter of a second after the last."""

    def reset():
        ticks = itertools.count()
        fake = SimpleNamespace(time=lambda: next(ticks) / 4)
        for name in ('mmengine.hooks.iter_timer_hook', 'mmrazor_byot.engine.hooks.iter_timer_hook'):
            monkeypatch.setattr(f'{name}.time', fake)

    return reset


def test_the_log_is_mmengines(tmp_path, clock):
    """All lines, the times among them, and the same order of the names."""
    lines = []
    for name, changes in (('theirs', MMENGINE), ('ours', OURS)):
        clock()
        runner = train(tmp_path / name, epochs=3, **VALIDATION, **changes)
        assert isinstance(runner.message_hub, DeferredMessageHub) == (name == 'ours')
        lines.append(logged(runner))
    theirs, ours = lines
    assert ours == theirs
    assert [list(line) for line in ours] == [list(line) for line in theirs]
    assert len(ours) == 3 + 3  # at iteration 2 of an epoch, and validation
    assert {'lr', 'grad_norm', 'loss', 'exit1.hint_loss', 'time', 'data_time'} <= set(ours[0])


def test_checkpoints_hold_mmengines_histories(tmp_path, clock):
    """With what was not yet logged."""
    histories = []
    for name, changes in (('theirs', MMENGINE), ('ours', OURS)):
        clock()
        runner = train(tmp_path / name, **changes)
        histories.append(saved(runner, 1)['message_hub']['log_scalars'])
    theirs, ours = histories
    assert list(theirs) == list(ours)
    for key in theirs:
        for a, b in zip(theirs[key].data, ours[key].data):
            assert a.dtype == b.dtype and a.tolist() == b.tolist(), key
    assert len(ours['train/loss'].data[0]) == 3


def test_resuming(tmp_path):
    """The log goes on as if it had not been interrupted."""
    whole = logged(train(tmp_path / 'whole', epochs=2))
    train(tmp_path / 'broken', epochs=1)
    resumed = logged(train(tmp_path / 'broken', epochs=2, resume=True))
    for line in (resumed[-1], whole[-1]):
        del line['time'], line['data_time']
    assert resumed[-1] == whole[-1]
    assert whole[-1]['iter'] == 5  # 3 of the second epoch are not logged


@pytest.mark.parametrize(
    'values',
    [
        [1.5, 2.5, 3.0],
        [1, 2, 3],
        [torch.tensor(1.5), torch.tensor([[2.5]]), torch.tensor(7)],
        [np.float32(0.1), np.array([3]), torch.tensor(0.1, dtype=torch.bfloat16)],
        [torch.tensor(0.1, requires_grad=True) * 3, 1, torch.tensor(True)],
    ],
)
def test_histories(hubs, values):
    for hub in hubs:
        for count, value in enumerate(values, start=1):
            hub.update_scalar('train/a', value, count)
            hub.update_scalar('b', 2 * value, resumed=False)
    for key in ('train/a', 'b'):
        theirs, ours = (hub.get_scalar(key) for hub in hubs)
        for a, b in zip(theirs.data, ours.data):
            assert a.dtype == b.dtype
            assert a.tolist() == b.tolist()
        assert theirs.mean(2) == ours.mean(2)
    theirs, ours = (hub.state_dict() for hub in hubs)
    assert list(ours['log_scalars']) == ['train/a']
    assert ours['resumed_keys'] == theirs['resumed_keys']


@pytest.mark.parametrize(
    'reader',
    [
        lambda hub: hub.log_scalars['x'],
        lambda hub: hub.get_scalar('x'),
        lambda hub: hub.state_dict()['log_scalars']['x'],
        lambda hub: (hub.update_scalars(dict(y=1)), hub.get_scalar('x'))[1],
    ],
)
def test_every_reader_sees_the_newest(hubs, reader):
    _, hub = hubs
    for value in (1.0, 2.0):
        hub.update_scalar('x', torch.tensor(value))
        assert reader(hub).current() == value
    assert reader(hub).data[0].tolist() == [1.0, 2.0]


def test_a_number_is_read_without_the_tensors(hubs, monkeypatch):
    """As MMEngine's timer does in each iteration."""
    _, hub = hubs
    hub.update_scalar('loss', torch.tensor(1.0))
    hub.update_scalar('time', 0.5)
    monkeypatch.setattr(torch, 'stack', None)
    assert hub.get_scalar('time').current() == 0.5
    monkeypatch.undo()
    assert hub.get_scalar('loss').current() == 1.0


def test_one_transfer_for_all(hubs, monkeypatch):
    _, hub = hubs
    stacked, stack = [], torch.stack
    monkeypatch.setattr(torch, 'stack', lambda v: stacked.append(len(v)) or stack(v))
    for i in range(50):
        hub.update_scalar('a', torch.tensor(float(i)))
        hub.update_scalar('b', torch.tensor(float(-i)))
        hub.update_scalar('c', i)
    assert stacked == []
    assert hub.get_scalar('a').mean() == 24.5
    assert hub.get_scalar('b').min() == -49
    assert stacked == [100]


def test_whole_iterations(hubs):
    """They may change what they give, and single values may come between."""
    iterations = [
        dict(loss=1.0, a=torch.tensor(2.0)),
        dict(loss=torch.tensor(3), a=4),
        dict(a=torch.tensor([5.0])),
        dict(loss=6.0, b=torch.tensor(7.0, requires_grad=True), a=8.0),
    ]
    theirs, ours = hubs
    for i, outputs in enumerate(iterations):
        ours.note_iteration(outputs)
        for name, value in outputs.items():
            theirs.update_scalar(f'train/{name}', value)
        for hub in hubs:
            hub.update_scalar('train/a', 10 * i, count=2)
            hub.update_scalar('train/lr', 0.1)
            if i == 2:
                assert hub.get_scalar('train/a').current() == 20
    assert list(ours.log_scalars) == list(theirs.log_scalars)
    for key, history in theirs.log_scalars.items():
        for a, b in zip(history.data, ours.get_scalar(key).data):
            assert a.dtype == b.dtype and a.tolist() == b.tolist(), key
    assert ours.get_scalar('train/a').data[0].tolist() == [2, 0, 4, 10, 5, 20, 8, 30]


def test_a_number_does_not_fetch_the_losses(hubs, monkeypatch):
    _, hub = hubs
    hub.note_iteration(dict(loss=torch.tensor(1.0)))
    hub.update_scalar('time', 0.5)
    monkeypatch.setattr(torch, 'stack', None)
    for _ in range(2):  # also when it is up to date
        assert hub.get_scalar('time').current() == 0.5
    monkeypatch.undo()
    assert hub.get_scalar('train/loss').current() == 1.0


def test_not_too_much_is_kept(hubs, monkeypatch):
    monkeypatch.setattr(deferred_hub, 'LIMIT', 5)
    _, hub = hubs
    for i in range(13):
        hub.update_scalar('a', torch.tensor(i))
        hub.note_iteration(dict(b=torch.tensor(-i)))
        assert sum(map(len, (hub._iterations, *hub._noted.values()))) <= 5
    assert hub.get_scalar('a').data[0].tolist() == list(range(13))
    assert hub.get_scalar('train/b').current() == -12


def test_a_history_has_an_end(hubs):
    _, hub = hubs
    hub._log_scalars['a'] = HistoryBuffer([1, 2], [1, 1], max_length=4)
    for value in (3, 4, 5, 6):
        hub.update_scalar('a', value)
    assert hub.get_scalar('a').data[0].tolist() == [3, 4, 5, 6]


def test_no_graph_is_kept(hubs):
    _, hub = hubs
    hub.update_scalar('a', torch.ones((), requires_grad=True) * 2)
    ((value, _),) = hub._noted['a']
    assert value.grad_fn is None


@pytest.mark.parametrize('value', [torch.ones(2), 'a', np.ones(3)])
def test_no_scalar(hubs, value):
    for hub in hubs:
        with pytest.raises(AssertionError):
            hub.update_scalar('a', value)


def test_unknown_key(hubs):
    with pytest.raises(KeyError, match='lost is not found'):
        hubs[1].get_scalar('lost')


def test_taking_over_twice_loses_nothing(hubs):
    _, hub = hubs
    hub.update_scalar('a', 1)
    DeferredMessageHub.take_over(hub)
    assert hub.get_scalar('a').current() == 1
    assert MessageHub.get_instance(hub.instance_name) is hub


def test_fetch_keeps_order_and_type():
    values = [
        torch.tensor(3),
        1,
        torch.tensor(0.5),
        2.5,
        torch.tensor(0.1, dtype=torch.float64),
        torch.tensor(4),
    ]
    found = fetch(values)
    assert found == [3, 1, 0.5, 2.5, 0.1, 4]
    assert [type(v) for v in found] == [int, int, float, float, float, int]
    assert fetch([]) == []


class Reader(Hook):
    """A user's hook that reads the loss of each iteration."""

    seen = []

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        loss = runner.message_hub.get_scalar('train/loss').current()
        self.seen.append(loss == outputs['loss'].item())


def test_a_hook_may_read_at_any_time(tmp_path):
    runner = Runner.from_cfg(config(tmp_path / 'run', epochs=1))
    runner.register_hook(Reader())
    runner.train()
    assert Reader.seen == [True] * 3
