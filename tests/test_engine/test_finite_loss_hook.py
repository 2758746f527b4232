"""A run stops when its loss is not finite, and saves nothing after that."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmrazor_byot.engine import FiniteLossHook
from mmrazor_byot.errors import NonFiniteLossError

NAN, INF = float('nan'), float('inf')


def step(hook, iteration, **losses):
    """Finish an iteration, the first of which is 1."""
    runner = SimpleNamespace(iter=iteration - 1, work_dir='work')
    hook.after_train_iter(runner, 0, outputs={k: torch.tensor(v) for k, v in losses.items()})


def check(hook, place):
    runner = SimpleNamespace(iter=99, work_dir='work', model=nn.Module())
    if place == 'epoch':
        hook.after_train_epoch(runner)
    else:
        hook.before_save_checkpoint(runner, checkpoint={})


@pytest.mark.parametrize('interval, first, found', [(1, 1, 1), (5, 1, 5), (3, 7, 9)])
def test_checks_every_interval(interval, first, found):
    """Not earlier, so that a GPU may run ahead."""
    hook = FiniteLossHook(interval)
    for i in range(1, found):
        step(hook, i, loss=NAN if i >= first else 1.0)
    with pytest.raises(NonFiniteLossError, match=f'at iteration {first} '):
        step(hook, found, loss=NAN)


@pytest.mark.parametrize('place', ['epoch', 'checkpoint'])
@pytest.mark.parametrize('value', [NAN, INF, -INF])
def test_checks_at_the_end_of_an_epoch_and_before_saving(place, value):
    hook = FiniteLossHook()
    step(hook, 41, loss=1.0)
    check(hook, place)
    step(hook, 42, loss=NAN, a_loss=1.0, b_loss=value, c_loss=INF)
    with pytest.raises(NonFiniteLossError) as caught:
        check(hook, place)
    assert f'iteration 42 (b_loss = {value}, c_loss = inf)' in str(caught.value)
    assert 'optim_wrapper.clip_grad.max_norm=5' in str(caught.value)


def test_the_sum_of_finite_losses_may_be_infinite():
    hook = FiniteLossHook(interval=1)
    with pytest.raises(NonFiniteLossError, match=r'\(loss = inf\)'):
        step(hook, 1, loss=INF, a_loss=3e38, b_loss=3e38)


@pytest.mark.parametrize('outputs', [None, {}, dict(loss=1.5), dict(accuracy=torch.tensor(NAN))])
def test_nothing_to_check(outputs):
    """No tensor that is called a loss."""
    hook = FiniteLossHook(interval=1)
    hook.after_train_iter(SimpleNamespace(iter=0, work_dir='work'), 0, outputs=outputs)


def test_one_transfer_and_no_graph(monkeypatch):
    """For all losses of all iterations since the last check."""
    stacked, stack = [], torch.stack
    monkeypatch.setattr(torch, 'stack', lambda v: stacked.append(v) or stack(v))
    weight = torch.ones((), requires_grad=True)
    hook = FiniteLossHook(interval=4)
    for i in range(7):
        runner = SimpleNamespace(iter=i, work_dir='work')
        hook.after_train_iter(runner, 0, outputs=dict(loss=i * weight, a_loss=weight))
    check(hook, 'epoch')
    assert list(map(len, stacked)) == [8, 6]
    assert not any(loss.requires_grad for losses in stacked for loss in losses)


class Faulty(BaseModel):
    """From iteration ``first`` on, its loss or its gradient is not finite."""

    def __init__(self, first, kind='loss'):
        super().__init__()
        self.first, self.kind = first, kind
        self.iteration = 0
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, inputs, mode='loss', **kwargs):
        self.iteration += 1
        losses = dict(fit_loss=self.weight**2, reg_loss=self.weight**2)
        if self.iteration >= self.first and self.kind == 'loss':
            losses['fit_loss'] = losses['fit_loss'] * INF
        elif self.iteration >= self.first:  # 0, but its slope is infinite
            losses['fit_loss'] = (self.weight - self.weight.detach()).sqrt()
        return losses


def train(model, work_dir, **checkpoint):
    """Three epochs of four iterations; returns the error and what was saved."""
    hook = dict(dict(type='CheckpointHook', save_last=False), **checkpoint)
    data = [dict(inputs=torch.zeros(1))] * 4
    runner = Runner(
        model,
        str(work_dir),
        train_dataloader=dict(dataset=data, sampler=dict(type='DefaultSampler'), batch_size=1),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=hook),
        custom_hooks=[dict(type='mmrazor_byot.FiniteLossHook')],
        experiment_name=f'test_finite_loss_{work_dir.name}',
    )
    with pytest.raises(NonFiniteLossError) as caught:
        runner.train()
    files = sorted(p.name for p in work_dir.glob('*.pth'))
    last = work_dir / 'last_checkpoint'
    assert [Path(last.read_text()).name] == files[-1:] if files else not last.exists()
    return str(caught.value), files


@pytest.mark.parametrize(
    'first, by_epoch, interval, saved',
    [
        (1, True, 1, []),
        (8, True, 1, ['epoch_1.pth']),
        (9, True, 1, ['epoch_1.pth', 'epoch_2.pth']),
        (3, False, 2, ['iter_2.pth']),
        (4, False, 2, ['iter_2.pth']),
    ],
)
def test_nothing_is_saved_from_after_the_failure(tmp_path, first, by_epoch, interval, saved):
    message, files = train(Faulty(first), tmp_path, by_epoch=by_epoch, interval=interval)
    assert f'at iteration {first} (fit_loss = inf)' in message
    assert files == saved


@pytest.mark.parametrize('kind', ['loss', 'gradient'])
def test_the_last_finished_epoch_is_saved(tmp_path, kind):
    ours = dict(type='mmrazor_byot.ResumableCheckpointHook', save_last=True, interval=10)
    _, files = train(Faulty(11, kind), tmp_path, **ours)
    assert files == ['epoch_2.pth']


@pytest.mark.parametrize('first, saved', [(3, []), (4, []), (5, ['iter_4.pth'])])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, first, saved):
    """A finite loss may have a gradient that is not."""
    _, files = train(Faulty(first, kind='gradient'), tmp_path, by_epoch=False, interval=4)
    assert files == saved
