"""Stops a run whose loss is no longer a number."""

import math
from typing import Dict, List, Optional, Tuple

import torch
from mmengine.hooks import Hook
from torch import Tensor

from mmrazor_byot.errors import NonFiniteLossError
from mmrazor_byot.registry import HOOKS

from ..fetch import fetch
from .unwrap import unwrap


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raises when a loss is NaN or infinite, before anything is saved.

    Losses are noted on their device each iteration and looked at every ``interval`` iterations and
    before every checkpoint, all in one transfer, so a GPU is not stopped for it and no checkpoint
    holds weights from after the fault.

    Args:
        interval (int): Iterations between two looks. Defaults to 50.
    """

    priority = 'VERY_HIGH'  # before CheckpointHook

    def __init__(self, interval: int = 50):
        self.interval = interval
        self._noted: List[Tuple[int, Dict[str, Tensor]]] = []

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: Optional[dict] = None
    ) -> None:
        """Note the losses of an iteration, and look now and then."""
        losses = {
            name: value.detach() if value.requires_grad else value
            for name, value in (outputs or {}).items()
            if 'loss' in name and isinstance(value, Tensor)
        }
        self._noted.append((runner.iter + 1, losses))
        if len(self._noted) >= self.interval:
            self._look(runner)

    def after_train_epoch(self, runner) -> None:
        """Look before validation and checkpoint."""
        self._look(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Look at losses and weights before anything is written."""
        self._look(runner)
        # A finite loss can have a gradient that is not.
        state = checkpoint.get('state_dict', {})
        for name, _ in unwrap(runner.model).named_parameters():
            if name in state and not torch.isfinite(state[name]).all():
                self._stop(runner, 'weights are', runner.iter, name)

    def _look(self, runner) -> None:
        noted, self._noted = self._noted, []
        numbers = iter(fetch([v for _, losses in noted for v in losses.values()]))
        for iteration, losses in noted:
            found = dict(zip(losses, numbers))
            wrong = [k for k, v in found.items() if not math.isfinite(v)]
            if wrong:  # the sum says nothing that its terms do not
                names = [k for k in wrong if k != 'loss'] or wrong
                terms = ', '.join(f'{k} = {found[k]}' for k in names)
                self._stop(runner, 'loss is', iteration, terms)

    def _stop(self, runner, what: str, iteration: int, names: str) -> None:
        raise NonFiniteLossError(
            f'the {what} no longer finite at iteration {iteration} ({names}); training stopped, '
            f'and the last checkpoint in {runner.work_dir} is from before it. Lower the learning '
            'rate, or clip gradients: --cfg-options optim_wrapper.clip_grad.max_norm=5'
        )
