"""Stops training if a loss is NaN or infinite."""

import math
from typing import Dict, Optional

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmrazor_byot.errors import NonFiniteLossError
from mmrazor_byot.registry import HOOKS

from .utils import fetch_scalars, unwrap


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raises an error if a loss is NaN or infinite, before a checkpoint is saved.

    Losses stay on their device and are checked in one transfer every ``interval`` iterations, at
    the end of an epoch and before a checkpoint, so the GPU need not be waited for in each
    iteration.

    Args:
        interval (int): Iterations between two checks. Defaults to 50.
    """

    priority = 'VERY_HIGH'  # before CheckpointHook

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._unchecked: Dict[int, Dict[str, Tensor]] = {}  # by iteration

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Optional[dict] = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Keep the losses, and check them every ``interval`` iterations."""
        self._unchecked[runner.iter + 1] = {
            name: value.detach()
            for name, value in (outputs or {}).items()
            if 'loss' in name and isinstance(value, Tensor)
        }
        if len(self._unchecked) >= self.interval:
            self._check(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        self._check(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the losses and weights; a finite loss can have a gradient that is not finite."""
        self._check(runner)
        state = checkpoint.get('state_dict', {})
        for name, _ in unwrap(runner.model).named_parameters():
            if name in state and not torch.isfinite(state[name]).all():
                self._stop(runner, 'weights are', runner.iter, name)

    def _check(self, runner: Runner) -> None:
        unchecked, self._unchecked = self._unchecked, {}
        for iteration, losses in zip(unchecked, fetch_scalars(list(unchecked.values()))):
            wrong = {k: v for k, v in losses.items() if not math.isfinite(v)}
            if wrong:
                terms = {k: v for k, v in wrong.items() if k != 'loss'} or wrong
                names = ', '.join(f'{k} = {v}' for k, v in terms.items())
                self._stop(runner, 'loss is', iteration, names)

    def _stop(self, runner: Runner, what: str, iteration: int, names: str) -> None:
        raise NonFiniteLossError(
            f'the {what} no longer finite at iteration {iteration} ({names}); training stopped, '
            f'and the last checkpoint in {runner.work_dir} is from before it. Lower the learning '
            'rate, or clip gradients: --cfg-options optim_wrapper.clip_grad.max_norm=5'
        )
