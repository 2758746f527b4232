"""Losses for the log, without a wait for the GPU at each of them."""

from typing import Dict, List, Optional

import numpy as np
from mmengine.hooks import LoggerHook
from mmengine.hooks import RuntimeInfoHook as MMEngineRuntimeInfoHook
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mmrazor_byot.registry import HOOKS

from .utils import fetch

#: Iterations that are kept at most: each loss holds 512 bytes of a GPU.
MAX_KEPT = 1000


@HOOKS.register_module()
class RuntimeInfoHook(MMEngineRuntimeInfoHook):
    """MMEngine's hook, which gives the losses to the message hub many iterations at a time.

    They stay on their device until they are logged, an epoch ends or a checkpoint is saved, and are
    then fetched in one transfer. The histories are MMEngine's, but between two lines of the log
    they lack the iterations since.
    """

    def __init__(self) -> None:
        self._kept: List[dict] = []

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: Optional[dict] = None
    ) -> None:
        """Keep the losses, and hand them on when the log is due."""
        self._kept.append(
            {
                name: value.detach() if isinstance(value, Tensor) else value
                for name, value in (outputs or {}).items()
            }
        )
        if (
            any(
                self.every_n_inner_iters(batch_idx, hook.interval)
                for hook in runner.hooks
                if isinstance(hook, LoggerHook)
            )
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
            or len(self._kept) == MAX_KEPT
        ):
            self._hand_on(runner.message_hub)

    def after_train(self, runner) -> None:
        """Hand on the rest: an iteration-based run may end within an epoch."""
        self._hand_on(runner.message_hub)
        super().after_train(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Complete the histories of a checkpoint, which were copied before."""
        if self._kept:
            self._hand_on(runner.message_hub)
            checkpoint['message_hub'] = runner.message_hub.state_dict()

    def _hand_on(self, hub) -> None:
        scalars: Dict[str, list] = {}
        for iteration in fetch(self._kept):
            for name, value in iteration.items():
                scalars.setdefault(f'train/{name}', []).append(value)
        self._kept = []
        for key, (first, *others) in scalars.items():
            hub.update_scalar(key, first)
            if others:  # MMEngine would copy the whole history for each of them
                history = hub.log_scalars[key]
                values, counts = history.data
                hub.log_scalars[key] = HistoryBuffer(
                    np.append(values, others)[-history.max_length :],
                    np.append(counts, [1] * len(others))[-history.max_length :],
                    history.max_length,
                )
