"""No finished epoch is lost, and a resumed run equals the unbroken one."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from short_runs import EMA, VALIDATION, assert_close, saved, train

from mmrazor_byot import checkpoint
from mmrazor_byot.engine.hooks import ResumableCheckpointHook, checkpoint_hook
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import HOOKS

OURS = 'mmrazor_byot.ResumableCheckpointHook'


def keep(**settings) -> dict:
    return dict(default_hooks=dict(checkpoint=dict(type=OURS, **settings)))


class Killed(BaseException):
    """What no run catches."""


@HOOKS.register_module()
class KillHook(Hook):
    """Ends a run where a method of hooks is called for the nth time, from 1."""

    priority = 'LOWEST'

    def __init__(self, method: str, n: int):
        self.left = n
        setattr(self, method, self.count)

    def count(self, *args, **kwargs):
        self.left -= 1
        if not self.left:
            raise Killed


def killed(work_dir, method, n, hooks=(), **changes) -> None:
    """Train until there, and end as by SIGKILL: nothing is cleaned up."""
    kill = dict(type='mmrazor_byot.KillHook', method=method, n=n)
    with pytest.raises(Killed):
        train(work_dir, hooks=[*hooks, kill], **changes)


def files(work_dir) -> list:
    return sorted(p.name for p in Path(work_dir).iterdir() if p.is_file() and p.suffix != '.py')


def last(work_dir) -> str:
    return Path(work_dir, 'last_checkpoint').read_text()


@pytest.mark.parametrize(
    'settings, left',
    [
        (dict(interval=10), ['epoch_7.pth']),
        (dict(interval=3), ['epoch_3.pth', 'epoch_6.pth', 'epoch_7.pth']),
        (dict(interval=3, max_keep_ckpts=2), ['epoch_6.pth', 'epoch_7.pth']),
        (dict(interval=2, save_begin=3, max_keep_ckpts=2), ['epoch_5.pth', 'epoch_7.pth']),
        (dict(interval=1, max_keep_ckpts=1), ['epoch_7.pth']),
        (dict(interval=-1), ['epoch_7.pth']),
        (dict(interval=3, save_last=False), ['epoch_3.pth', 'epoch_6.pth']),
        (dict(interval=-1, save_last=False), []),
        (dict(interval=7, by_epoch=False), ['iter_14.pth', 'iter_21.pth', 'iter_7.pth']),
        (dict(interval=8, by_epoch=False), ['iter_16.pth', 'iter_21.pth', 'iter_8.pth']),
    ],
)
def test_what_is_kept(tmp_path, settings, left):
    """Of seven epochs of three iterations: what the interval keeps, and the last."""
    train(tmp_path, 7, **keep(**settings))
    assert files(tmp_path) == left + ['last_checkpoint'] * bool(left)
    if left:
        newest = max(left, key=lambda name: int(name.split('_')[1][:-4]))
        assert last(tmp_path) == f'{tmp_path}/{newest}'


EVERY_SECOND = VALIDATION | dict(train_cfg=dict(by_epoch=True, max_epochs=4, val_interval=2))
PLATEAU = dict(type='ReduceOnPlateauLR', monitor='accuracy/top1', rule='greater', patience=0)


@pytest.fixture(scope='module', params=['linear', 'plateau'])
def whole(request, tmp_path_factory):
    """A run of four epochs that keeps the best, and its settings."""
    settings = keep(interval=10, save_best='accuracy/top1') | EVERY_SECOND | dict(hooks=[EMA])
    if request.param == 'plateau':
        settings['param_scheduler'] = PLATEAU
    return train(tmp_path_factory.mktemp('whole'), **settings), settings


@pytest.mark.parametrize(
    'method, n, finished',
    [
        ('after_train_iter', 8, 2),
        ('before_val_epoch', 1, 2),
        ('before_val_epoch', 2, 4),
        ('after_train', 1, 4),
    ],
)
def test_a_resumed_run_equals_the_unbroken_one(whole, tmp_path, method, n, finished):
    """Also if it ended before a validation, which sets the learning rate and finds the best."""
    whole, settings = whole
    killed(tmp_path, method, n, **settings)
    assert last(tmp_path) == f'{tmp_path}/epoch_{finished}.pth'
    resumed = train(tmp_path, resume=True, **settings)
    for part in ('state_dict', 'ema_state_dict'):
        assert_close(saved(resumed, 4)[part], saved(whole, 4)[part])
    rates = [runner.optim_wrapper.param_groups[0]['lr'] for runner in (resumed, whole)]
    assert rates[0] == rates[1]
    assert files(tmp_path) == files(whole.work_dir)
    assert len(files(tmp_path)) == 3  # epoch 4, the best, last_checkpoint


def test_early_stopping_leaves_its_epoch(tmp_path):
    stop = dict(type='EarlyStoppingHook', monitor='accuracy/top1', stopping_threshold=0)
    train(tmp_path, 20, hooks=[stop], **keep(interval=10), **VALIDATION)
    assert files(tmp_path) == ['epoch_1.pth', 'last_checkpoint']
    train(tmp_path / 'b', 20, hooks=[stop], **keep(interval=10, by_epoch=False), **VALIDATION)
    assert files(tmp_path / 'b') == ['iter_3.pth', 'last_checkpoint']
    meta = torch.load(tmp_path / 'b/iter_3.pth', weights_only=False)['meta']
    assert (meta['epoch'], meta['iter']) == (1, 3)


def test_runs_without_epochs(tmp_path):
    """They are saved at intervals, and where they end."""
    settings = keep(by_epoch=False, interval=6) | VALIDATION
    settings['train_cfg'] = dict(by_epoch=False, max_iters=20, val_interval=8)
    stop = dict(type='EarlyStoppingHook', monitor='accuracy/top1', stopping_threshold=0)
    train(tmp_path, hooks=[stop], **settings)
    assert files(tmp_path) == ['iter_6.pth', 'iter_8.pth', 'last_checkpoint']
    runner = train(tmp_path, resume=True, **settings)
    assert runner.iter == 20 and last(tmp_path) == f'{tmp_path}/iter_20.pth'


@pytest.mark.parametrize('place', ['write', 'pointer', 'remove'])
def test_killed_while_it_saves(tmp_path, monkeypatch, place):
    """Whatever is not done yet, the run goes on, and no file is left over."""
    settings = keep(interval=4, max_keep_ckpts=1)
    path, name = {
        'write': (checkpoint.AtomicBackend, 'put'),
        'pointer': (checkpoint_hook, 'write_text'),
        'remove': (checkpoint.AtomicBackend, 'remove'),
    }[place]
    real, calls = getattr(path, name), []

    def fail(*args):
        calls.append(args)
        if len(calls) == 3:
            raise Killed
        real(*args)

    monkeypatch.setattr(path, name, fail)
    with pytest.raises(Killed):
        train(tmp_path, 6, **settings)
    runner = train(tmp_path, 6, resume=True, **settings)
    # The pointer is also written when a run is resumed, before an older checkpoint is removed.
    assert (
        runner.epoch == 6
        and len(calls) == {'write': 3 + 4, 'pointer': 3 + 1 + 3, 'remove': 3 + 3}[place]
    )
    assert last(tmp_path) == f'{tmp_path}/epoch_6.pth'
    assert files(tmp_path) == ['epoch_6.pth', 'last_checkpoint']


def test_the_best_is_removed_after_the_next_is_written(tmp_path, monkeypatch):
    runner = train(tmp_path, 1, **keep(save_best='accuracy/top1'), **VALIDATION)
    (first,) = tmp_path.glob('best_*')
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, ResumableCheckpointHook))
    runner.train_loop._epoch = 2

    def fail(*args):
        raise OSError

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(checkpoint.AtomicBackend, 'put', fail)
        hook.after_val_epoch(runner, {'accuracy/top1': 101.0})
    assert first.exists()
    hook.best_ckpt_path = str(first)
    hook.after_val_epoch(runner, {'accuracy/top1': 102.0})
    assert [path.name for path in tmp_path.glob('best_*')] == ['best_accuracy_top1_epoch_2.pth']


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(intervall=1), "unexpected keyword argument 'intervall'"),
        (dict(interval='10'), "checkpoint.interval='10' is not an integer"),
        (dict(interval=2.5), 'checkpoint.interval=2.5 is not an integer'),
        (dict(max_keep_ckpts=True), 'checkpoint.max_keep_ckpts=True is not an integer'),
        (dict(filename_tmpl='last.pth'), 'checkpoint.filename_tmpl="last.pth" has no {}'),
    ],
)
def test_settings_are_checked_when_the_run_is_built(settings, message):
    with pytest.raises((ConfigError, TypeError), match=re.escape(message)):
        HOOKS.build(dict(type=OURS, **settings))


def test_an_unknown_metric_loses_nothing(tmp_path):
    with pytest.raises(ConfigError, match='"acuracy/top1" is not a metric: choose from exit1/top1'):
        train(
            tmp_path, 1, **keep(interval=9, save_best='acuracy/top1', rule='greater'), **VALIDATION
        )
    assert files(tmp_path) == ['epoch_1.pth', 'last_checkpoint']


def test_checkpoints_of_mmengines_hook(tmp_path):
    """Are resumed, and cleared away in the same order."""
    theirs = dict(type='CheckpointHook', interval=2, max_keep_ckpts=2)
    train(tmp_path, 4, default_hooks=dict(checkpoint=theirs))
    assert files(tmp_path) == ['epoch_2.pth', 'epoch_4.pth', 'last_checkpoint']
    train(tmp_path, 7, resume=True, **keep(interval=2, max_keep_ckpts=2))
    assert files(tmp_path) == ['epoch_6.pth', 'epoch_7.pth', 'last_checkpoint']
    train(tmp_path, 8, default_hooks=dict(checkpoint=theirs), resume=True)
    assert files(tmp_path) == ['epoch_7.pth', 'epoch_8.pth', 'last_checkpoint']
