"""Between two lines of the log, nothing asks the device for a number."""

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner
from short_runs import EMA, config
from waits import Waits

CLIP = dict(clip_grad=dict(type='value', clip_value=0.1))
AMP = dict(type='mmrazor_byot.AmpOptimWrapper')


def syncs(work_dir, **changes):
    """What stops the host in each iteration of an epoch of 3.

    From before the first hook to after the last: the data loader's work is in main memory.
    """
    runner = Runner.from_cfg(config(work_dir, epochs=1, **changes))
    counter, counts, first, last = Waits(), [], Hook(), Hook()

    def stop(*_, **__):
        counter.__exit__(None, None, None)
        counts.append(counter.places)
        counter.places = []

    first.before_train_iter = lambda *_, **__: counter.__enter__()
    last.after_train_iter = stop
    runner._hooks = [first, *runner._hooks, last]
    runner.train()
    return counts


@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(optim=dict(CLIP, accumulative_counts=2)),
        dict(optim=dict(AMP, **CLIP), hooks=[EMA], channels_last=True),
    ],
    ids=['plain', 'accumulate', 'all'],
)
def test_only_the_log_waits(tmp_path, changes):
    """The log is printed at the second iteration: one transfer, and none of single numbers."""
    assert syncs(tmp_path / 'run', **changes) == [[], [], []]


@pytest.mark.parametrize(
    'changes, least',
    [
        (dict(default_hooks=dict(runtime_info=dict(type='RuntimeInfoHook'))), 5),
        (dict(optim=dict(clip_grad=dict(max_norm=0.5))), 1),
        (dict(hooks=[dict(EMA, ema_type='ExponentialMovingAverage')]), 1),
    ],
)
def test_mmengines_own_wait(tmp_path, changes, least):
    """The counter can find it."""
    first, *_ = syncs(tmp_path / 'run', **changes)
    assert len(first) >= least
