"""Losses are fetched many iterations at a time, and are MMEngine's to the last bit."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import RuntimeInfoHook as MMEngineRuntimeInfoHook
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from short_runs import VALIDATION, config, logged

from mmrazor_byot.engine import RuntimeInfoHook
from mmrazor_byot.engine.hooks import runtime_info_hook

EPOCHS = dict(by_epoch=True, max_epochs=2)
ITERATIONS = dict(type='IterBasedTrainLoop', max_iters=5, val_interval=4)


def run(hook, work_dir, loop, **changes):
    """What a run wrote, but for the times: its log, its histories, and those of its checkpoint.

    An epoch has 3 iterations; the log is due at every second, a checkpoint at the end or at
    iteration 3.
    """
    by_epoch = loop.get('by_epoch', False)
    checkpoint = dict(type='CheckpointHook', by_epoch=by_epoch, interval=1 if by_epoch else 3)
    cfg = config(
        work_dir,
        default_hooks=dict(runtime_info=dict(type=hook), checkpoint=checkpoint),
        optim=dict(clip_grad=dict(max_norm=0.5)),
        log_processor=dict(by_epoch=by_epoch),
        **changes,
        **VALIDATION,
    )
    cfg.train_cfg = loop
    runner = Runner.from_cfg(cfg)
    runner.train()
    name = f'epoch_{loop["max_epochs"]}.pth' if by_epoch else 'iter_3.pth'
    saved = torch.load(work_dir / name, weights_only=False)
    log = [{k: v for k, v in line.items() if 'time' not in k} for line in logged(runner)]
    return log, *(
        {
            key: [(part.dtype, part.tolist()) for part in history.data]
            for key, history in scalars.items()
            if 'time' not in key
        }
        for scalars in (runner.message_hub.log_scalars, saved['message_hub']['log_scalars'])
    )


@pytest.mark.parametrize('loop', [EPOCHS, ITERATIONS], ids=['epochs', 'iterations'])
def test_log_and_histories_are_mmengines(tmp_path, loop):
    theirs = run('RuntimeInfoHook', tmp_path / 'theirs', loop)
    ours = run('mmrazor_byot.RuntimeInfoHook', tmp_path / 'ours', loop)
    assert ours == theirs
    log, histories, saved = ours
    assert {'lr', 'grad_norm', 'loss', 'exit1.hint_loss'} <= log[0].keys()
    assert len(histories['train/loss'][0][1]) == (6 if loop is EPOCHS else 5)
    assert len(saved['train/loss'][0][1]) == (6 if loop is EPOCHS else 3)


@pytest.mark.parametrize('hook', ['RuntimeInfoHook', 'mmrazor_byot.RuntimeInfoHook'])
def test_resuming(tmp_path, hook):
    """The log goes on as if it had not been interrupted, from MMEngine's checkpoints too."""
    whole = run('mmrazor_byot.RuntimeInfoHook', tmp_path / 'whole', EPOCHS)
    run(hook, tmp_path / 'broken', dict(EPOCHS, max_epochs=1))
    resumed = run('mmrazor_byot.RuntimeInfoHook', tmp_path / 'broken', EPOCHS, resume=True)
    # Runs of one second share a log.
    assert resumed[0][-2:] == whole[0][2:]
    for found, expected in zip(resumed[1:], whole[1:]):
        # MMEngine saves a checkpoint before the validation of its epoch.
        train = {key: value for key, value in expected.items() if key.startswith('train/')}
        assert {key: found[key] for key in train} == train


def runner(name):
    """As much of a runner as the hook sees, an epoch of which is 100 iterations."""
    hub = MessageHub.get_instance(name)
    return SimpleNamespace(message_hub=hub, hooks=[], train_dataloader=range(100))


def test_outputs_of_every_kind(request):
    """Integers, numbers, half precision, and not the same in each iteration."""
    iterations = [
        dict(loss=1.5, a=torch.tensor(2), b=torch.tensor(0.1, dtype=torch.bfloat16)),
        None,
        dict(loss=torch.tensor(3), a=4, b=torch.tensor([[0.1]])),
        dict(a=torch.tensor([5]), c=torch.tensor(True)),
        dict(loss=6, c=torch.tensor(0.1, dtype=torch.float64), d=torch.tensor(7.0)),
    ]
    scalars = []
    for hook in (MMEngineRuntimeInfoHook(), RuntimeInfoHook()):
        fake = runner(f'{request.node.name} {hook}')
        for i, outputs in enumerate(iterations):
            hook.after_train_iter(fake, batch_idx=95 + i, outputs=outputs)
        scalars.append(fake.message_hub.log_scalars)
    theirs, ours = scalars
    assert list(ours) == list(theirs)
    for key, history in theirs.items():
        for a, b in zip(history.data, ours[key].data):
            assert a.dtype == b.dtype and a.tolist() == b.tolist(), key


def test_one_transfer_when_the_log_is_due_or_too_much_is_kept(request, monkeypatch):
    stacked, stack = [], torch.stack
    monkeypatch.setattr(torch, 'stack', lambda v: stacked.append(len(v)) or stack(v))
    monkeypatch.setattr(runtime_info_hook, 'MAX_KEPT', 8)
    weight = torch.ones((), requires_grad=True)
    hook, fake = RuntimeInfoHook(), runner(request.node.name)
    for i in range(20):
        hook.after_train_iter(fake, i, outputs=dict(loss=i * weight, a=torch.tensor(0.5)))
        assert not any(kept['loss'].requires_grad for kept in hook._kept)
    assert stacked == [16, 16]
    hook.before_save_checkpoint(fake, {})
    assert stacked == [16, 16, 8]
    assert fake.message_hub.get_scalar('train/loss').data[0].tolist() == list(range(20))


def test_a_history_has_an_end(request):
    hook, fake = RuntimeInfoHook(), runner(request.node.name)
    fake.message_hub.update_scalar('train/loss', 1.0)
    fake.message_hub.get_scalar('train/loss').max_length = 4
    for i in range(6):
        hook.after_train_iter(fake, 94 + i, outputs=dict(loss=torch.tensor(float(i))))
    assert fake.message_hub.get_scalar('train/loss').data[0].tolist() == [2, 3, 4, 5]
