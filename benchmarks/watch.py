"""Where the time of an epoch goes, seen from inside the Runner."""

import resource
import statistics
import sys
import time
from typing import Iterable, List, Optional, Tuple

import torch
from machine import synchronize
from mmengine.hooks import Hook
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

READY = 8  # batches in memory for the bare steps
PROFILED = 20  # steps whose kernels are counted


class EpochWatch(Hook):
    """Times each epoch, and after it the same number of bare steps.

    A bare step is ``train_step`` on a batch in memory: what the epoch would cost if loader,
    hooks and log were free. Epoch and steps take turns, so that a slower minute of the machine
    meets both.

    It must be the first of all hooks.

    Args:
        warmup (int): Epochs that do not count.
    """

    def __init__(self, warmup: int = 1) -> None:
        self.warmup = warmup
        self.rows: List[dict] = []

    def before_train(self, runner) -> None:
        """Put a clock into ``train_step``."""
        self._batches: List[dict] = []
        self._step = runner.model.train_step
        runner.model.train_step = self._timed_step

    def _timed_step(self, data, optim_wrapper):
        start = time.perf_counter()
        losses = self._step(data, optim_wrapper)
        self._in_step += time.perf_counter() - start
        return losses

    def before_train_epoch(self, runner) -> None:
        """Start the clocks."""
        synchronize()
        self._in_step = self._waited = 0.0
        self._start = self._last = time.perf_counter()

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """A batch has come."""
        self._waited += time.perf_counter() - self._last
        if len(self._batches) < READY:
            self._batches.append(data_batch)

    def after_last_hook(self, *args, **kwargs) -> None:
        """The next batch is waited for from here on."""
        self._last = time.perf_counter()

    def after_train_epoch(self, runner) -> None:
        """Stop the clocks; then take the bare steps."""
        synchronize()
        seconds = time.perf_counter() - self._start
        if runner.epoch < self.warmup:
            return
        steps = len(runner.train_dataloader)
        start = time.perf_counter()
        for i in range(steps):
            self._bare_step(runner, i)
        synchronize()
        steps_s = time.perf_counter() - start
        busy = self._kernel_seconds(runner)
        loader = runner.train_dataloader
        images = (
            steps * loader.batch_size
            if loader.drop_last
            else min(len(loader.sampler), steps * loader.batch_size)
        )
        self.rows.append(
            dict(
                images_per_s=images / seconds,
                data_fraction=self._waited / seconds,
                outside_fraction=(seconds - self._waited - self._in_step) / seconds,
                gpu_busy=busy and busy * steps / seconds,
                epoch_s=seconds,
                steps_s=steps_s,
                times_steps=seconds / steps_s,
            )
        )

    def _bare_step(self, runner, i: int) -> None:
        # A full batch, as all but the last are.
        batches = self._batches[: len(runner.train_dataloader) - 1 or 1]
        self._step(batches[i % len(batches)], runner.optim_wrapper)

    def _kernel_seconds(self, runner) -> Optional[float]:
        """Time of a step in which a GPU is busy; None without one."""
        if not torch.cuda.is_available():
            return None
        with profile(activities=[ProfilerActivity.CUDA]) as prof:
            for i in range(PROFILED):
                self._bare_step(runner, i)
            synchronize()
        spans = [
            (e.time_range.start, e.time_range.end)
            for e in prof.events()
            if e.device_type == DeviceType.CUDA
        ]
        return covered(spans) / 1e6 / PROFILED

    def median(self) -> dict:
        """The measured epochs as one."""
        return {
            name: None
            if self.rows[0][name] is None
            else statistics.median(row[name] for row in self.rows)
            for name in self.rows[0]
        }


def watch_epochs(runner, warmup: int) -> EpochWatch:
    """Make a watch the first of a runner's hooks, and its clock the last.

    Args:
        runner (Runner): Before training.
        warmup (int): Epochs that do not count.
    """
    watch, last = EpochWatch(warmup), Hook()
    last.after_train_iter = watch.after_last_hook
    runner._hooks = [watch, *runner.hooks, last]
    return watch


def covered(spans: Iterable[Tuple[float, float]]) -> float:
    """Length of the union of some spans of time.

    Args:
        spans: Start and end of each, in any order.
    """
    total, end = 0.0, float('-inf')
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def peak_mib() -> float:
    """The most memory taken, in MiB: of the GPU, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 2**20 if sys.platform == 'darwin' else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
