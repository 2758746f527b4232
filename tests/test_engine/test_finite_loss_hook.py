"""A run stops when its loss is no number, and saves nothing after it."""

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
    hook.after_train_iter(
        SimpleNamespace(iter=iteration - 1, work_dir='work'),
        batch_idx=0,
        outputs={k: torch.tensor(v) for k, v in losses.items()},
    )


def look(hook, place):
    runner = SimpleNamespace(iter=99, work_dir='work', model=nn.Module())
    if place == 'epoch':
        hook.after_train_epoch(runner)
    else:
        hook.before_save_checkpoint(runner, checkpoint={})


@pytest.mark.parametrize('interval', [1, 2, 5])
def test_looks_every_interval(interval):
    """Not earlier, so that a GPU may run ahead."""
    hook = FiniteLossHook(interval)
    for i in range(1, interval):
        step(hook, i, loss=NAN)
    with pytest.raises(NonFiniteLossError, match='at iteration 1 '):
        step(hook, interval, loss=NAN)


def test_looks_again_after_an_interval():
    hook = FiniteLossHook(3)
    for i in range(1, 9):
        step(hook, i, loss=NAN if i >= 7 else 1.0)
    with pytest.raises(NonFiniteLossError, match='at iteration 7 '):
        step(hook, 9, loss=NAN)


@pytest.mark.parametrize('place', ['epoch', 'checkpoint'])
@pytest.mark.parametrize('value', [NAN, INF, -INF])
def test_looks_at_the_end_of_an_epoch_and_before_saving(place, value):
    hook = FiniteLossHook()
    step(hook, 41, loss=1.0)
    look(hook, place)
    step(hook, 42, loss=value)
    with pytest.raises(NonFiniteLossError) as caught:
        look(hook, place)
    message = str(caught.value)
    assert f'at iteration 42 (loss = {value})' in message
    assert 'the last checkpoint in work is from before it' in message
    assert 'optim_wrapper.clip_grad.max_norm=5' in message


@pytest.mark.parametrize(
    'losses, terms',
    [
        (dict(loss=NAN, a_loss=1.0, b_loss=NAN), '(b_loss = nan)'),
        (dict(a_loss=INF, loss=INF), '(a_loss = inf)'),
        (
            {'exit1.hint_loss': -INF, 'exit1.label_loss': NAN, 'loss': NAN},
            '(exit1.hint_loss = -inf, exit1.label_loss = nan)',
        ),
        # The sum of finite terms overflows.
        (dict(loss=INF, a_loss=3e38, b_loss=3e38), '(loss = inf)'),
    ],
)
def test_names_the_terms(losses, terms):
    hook = FiniteLossHook(interval=3)
    finite = dict.fromkeys(losses, 2.0)
    step(hook, 6, **finite)
    step(hook, 7, **losses)
    with pytest.raises(NonFiniteLossError) as caught:
        step(hook, 8, **losses)
    assert f'at iteration 7 {terms}; training stopped' in str(caught.value)


@pytest.mark.parametrize('outputs', [None, {}, dict(loss=1.5), dict(accuracy=torch.tensor(NAN))])
def test_nothing_to_look_at(outputs):
    """No tensor that is called a loss."""
    hook = FiniteLossHook(interval=1)
    runner = SimpleNamespace(iter=0, work_dir='work')
    hook.after_train_iter(runner, 0, outputs=outputs)
    look(hook, 'epoch')


def test_one_transfer(monkeypatch):
    """For all losses of all iterations since the last look."""
    stacked, stack = [], torch.stack
    monkeypatch.setattr(torch, 'stack', lambda v: stacked.append(len(v)) or stack(v))
    hook = FiniteLossHook(interval=4)
    for i in range(1, 8):
        step(hook, i, loss=1.0, a_loss=0.5, b_loss=0.5)
    assert stacked == [12]
    look(hook, 'epoch')
    assert stacked == [12, 9]


def test_keeps_no_graph():
    weight = torch.ones((), requires_grad=True)
    hook = FiniteLossHook()
    runner = SimpleNamespace(iter=0, work_dir='work')
    hook.after_train_iter(runner, 0, outputs=dict(loss=2 * weight))
    ((_, losses),) = hook._noted
    assert losses['loss'].grad_fn is None and losses['loss'].item() == 2


class Faulty(BaseModel):
    """From iteration ``fault`` on, its loss or its gradient is no number."""

    def __init__(self, fault, kind='loss'):
        super().__init__()
        self.fault, self.kind = fault, kind
        self.iteration = 0
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, inputs, mode='loss', **kwargs):
        self.iteration += 1
        losses = dict(fit_loss=self.weight**2, reg_loss=self.weight**2)
        if self.iteration >= self.fault and self.kind == 'loss':
            losses['fit_loss'] = losses['fit_loss'] * INF
        elif self.iteration >= self.fault:  # 0, but its slope is infinite
            losses['fit_loss'] = (self.weight - self.weight.detach()).sqrt()
        return losses


def train(model, work_dir, **checkpoint):
    """Three epochs of four iterations; returns what was saved."""
    hook = dict(type='CheckpointHook', save_last=False, **checkpoint)
    runner = Runner(
        model,
        str(work_dir),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.zeros(1))] * 4,
            sampler=dict(type='DefaultSampler'),
            batch_size=1,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=hook),
        custom_hooks=[dict(type='mmrazor_byot.FiniteLossHook')],
        experiment_name=f'test_finite_loss_{work_dir.name}',
    )
    with pytest.raises(NonFiniteLossError) as caught:
        runner.train()
    return str(caught.value), sorted(p.name for p in work_dir.glob('*.pth'))


@pytest.mark.parametrize(
    'fault, by_epoch, interval, saved',
    [
        (1, True, 1, []),
        (7, True, 1, ['epoch_1.pth']),
        (8, True, 1, ['epoch_1.pth']),
        (9, True, 1, ['epoch_1.pth', 'epoch_2.pth']),
        (3, False, 2, ['iter_2.pth']),
        (4, False, 2, ['iter_2.pth']),
        (6, False, 2, ['iter_2.pth', 'iter_4.pth']),
    ],
)
def test_nothing_is_saved_from_after_the_fault(tmp_path, fault, by_epoch, interval, saved):
    message, files = train(Faulty(fault), tmp_path, by_epoch=by_epoch, interval=interval)
    assert f'at iteration {fault} (fit_loss = inf)' in message
    assert files == saved


@pytest.mark.parametrize('fault, saved', [(3, []), (4, []), (5, [4])])
def test_weights_that_are_no_numbers_are_not_saved(tmp_path, fault, saved):
    """A finite loss may have a gradient that is not; 4 is a checkpoint's."""
    model = Faulty(fault, kind='gradient')
    _, files = train(model, tmp_path, by_epoch=False, interval=4)
    assert files == [f'iter_{i}.pth' for i in saved]
