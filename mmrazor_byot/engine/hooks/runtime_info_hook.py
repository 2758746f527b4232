"""Logs losses without waiting for the GPU in each iteration."""

from collections import defaultdict
from typing import DefaultDict, List, Optional

import numpy as np
from mmengine.hooks import LoggerHook
from mmengine.hooks import RuntimeInfoHook as MMEngineRuntimeInfoHook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import Runner
from torch import Tensor

from mmrazor_byot.registry import HOOKS

from .utils import fetch_scalars

#: Most iterations to keep: each loss takes 512 bytes of a GPU's memory.
MAX_KEPT = 1000


@HOOKS.register_module()
class RuntimeInfoHook(MMEngineRuntimeInfoHook):
    """MMEngine's hook, but it updates the message hub with the losses of many iterations at once.

    Losses stay on their device until they are logged, an epoch ends or a checkpoint is saved, and
    are then copied in one transfer. Between two log lines the histories lack the latest iterations.
    """

    def __init__(self) -> None:
        self._kept: List[dict] = []

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Optional[dict] = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Keep the losses, and update the message hub if they are about to be logged."""
        self._kept.append(
            {
                name: value.detach() if isinstance(value, Tensor) else value
                for name, value in (outputs or {}).items()
            }
        )
        intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        if (
            any(self.every_n_inner_iters(batch_idx, interval) for interval in intervals)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
            or len(self._kept) == MAX_KEPT
        ):
            self._update(runner.message_hub)

    def after_train(self, runner: Runner) -> None:
        """Update the message hub: an iteration-based run may end within an epoch."""
        self._update(runner.message_hub)
        super().after_train(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Complete the histories in a checkpoint, which were copied before."""
        if self._kept:
            self._update(runner.message_hub)
            checkpoint['message_hub'] = runner.message_hub.state_dict()

    def _update(self, hub: MessageHub) -> None:
        scalars: DefaultDict[str, list] = defaultdict(list)
        for iteration in fetch_scalars(self._kept):
            for name, value in iteration.items():
                scalars[f'train/{name}'].append(value)
        self._kept = []
        for key, (first, *others) in scalars.items():
            hub.update_scalar(key, first)
            if others:  # MMEngine would copy the history for each value
                history = hub.log_scalars[key]
                values, counts = history.data
                hub.log_scalars[key] = HistoryBuffer(
                    np.append(values, others)[-history.max_length :],
                    np.append(counts, [1] * len(others))[-history.max_length :],
                    history.max_length,
                )
