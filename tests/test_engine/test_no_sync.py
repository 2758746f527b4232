"""Between two lines of the log, nothing asks the device for a number."""

import traceback
from collections import Counter

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from short_runs import EMA, config
from torch.utils._python_dispatch import TorchDispatchMode

#: Each of them stops the host until a GPU has caught up.
SYNCS = {
    'aten::_local_scalar_dense',
    'aten::is_nonzero',
    'aten::nonzero',
    'aten::equal',
    'aten::masked_select',
    'aten::_unique2',
}
CLIP = dict(clip_grad=dict(max_norm=0.5))
AMP = dict(type='mmrazor_byot.AmpOptimWrapper')


class SyncCounter(TorchDispatchMode):
    """Counts what would stop a GPU, and remembers who did it."""

    def __init__(self):
        super().__init__()
        self.places = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name in SYNCS:
            frames = [f for f in traceback.extract_stack()[:-1] if 'torch/utils' not in f.filename]
            last = frames[-1]
            self.places[f'{last.filename}:{last.lineno} {last.line}'] += 1
        return func(*args, **(kwargs or {}))


class Watch(Hook):
    """Counts from before the first hook of an iteration to after the last.

    The data loader's work, between iterations, is in main memory.
    """

    def __init__(self):
        self.counter = SyncCounter()
        self.counts = []

    def start(self, runner, batch_idx, data_batch=None):
        self.counter.__enter__()

    def stop(self, runner, batch_idx, data_batch=None, outputs=None):
        self.counter.__exit__(None, None, None)
        self.counts.append(dict(self.counter.places))
        self.counter.places.clear()


def syncs(work_dir, **changes):
    """What stops the host in each iteration of an epoch of 3."""
    runner = Runner.from_cfg(config(work_dir, epochs=1, **changes))
    watch, first, last = Watch(), Hook(), Hook()
    first.before_train_iter, last.after_train_iter = watch.start, watch.stop
    runner._hooks = [first, *runner._hooks, last]
    runner.train()
    assert len(watch.counts) == 3
    return watch.counts


@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(optim=CLIP),
        dict(optim=dict(clip_grad=dict(type='value', clip_value=0.1))),
        dict(hooks=[EMA]),
        dict(optim=AMP),
        dict(optim=dict(AMP, **CLIP), hooks=[EMA], channels_last=True),
        dict(optim=dict(CLIP, accumulative_counts=2)),
    ],
    ids=['plain', 'clip', 'clip by value', 'EMA', 'AMP', 'all', 'accumulate'],
)
def test_only_the_log_waits(tmp_path, changes):
    """The log is printed at the second iteration."""
    first, second, third = syncs(tmp_path / 'run', **changes)
    assert first == {}
    # One transfer, as the only dtype is float32, and none of single numbers.
    assert second == {}
    assert third == {}


@pytest.mark.parametrize(
    'changes, least',
    [
        (dict(default_hooks=dict(runtime_info=dict(type='RuntimeInfoHook'))), 5),
        (dict(optim=dict(CLIP, type='OptimWrapper')), 1),
        (dict(hooks=[dict(EMA, ema_type='ExponentialMovingAverage')]), 1),
    ],
)
def test_mmengines_own_wait(tmp_path, changes, least):
    """What the counter finds where nothing was done: it can find it."""
    first, *_ = syncs(tmp_path / 'run', **changes)
    assert sum(first.values()) >= least


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_no_sync_on_a_gpu(tmp_path):
    """CUDA's own word for it. The images are pinned, as in the recipes."""
    cfg = config(
        tmp_path / 'run',
        epochs=1,
        hooks=[EMA],
        optim=dict(AMP, dtype='bfloat16', **CLIP),
        channels_last=True,
    )
    cfg.train_dataloader.pin_memory = True
    cfg.model.data_preprocessor.type = 'mmrazor_byot.BatchDataPreprocessor'
    runner = Runner.from_cfg(cfg)
    first, last = Hook(), Hook()
    first.before_train_iter = lambda _, batch_idx, **__: (  # 1 is logged
        torch.cuda.set_sync_debug_mode('warn' if batch_idx == 1 else 'error')
    )
    last.after_train_iter = lambda *_, **__: torch.cuda.set_sync_debug_mode('default')
    runner._hooks = [first, *runner._hooks, last]
    try:
        runner.train()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert runner.iter == 3
