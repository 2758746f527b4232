"""Losses for the log, without a wait for the GPU at each of them."""

from typing import Optional

from mmengine.hooks import RuntimeInfoHook as MMEngineRuntimeInfoHook

from mmrazor_byot.registry import HOOKS

from ..deferred_hub import DeferredMessageHub


@HOOKS.register_module()
class RuntimeInfoHook(MMEngineRuntimeInfoHook):
    """MMEngine's hook with a message hub that defers.

    Every loss of every iteration is noted on its device, and fetched when the log, a checkpoint or
    another hook reads it. The numbers are MMEngine's own, see :class:`DeferredMessageHub`.
    """

    def before_run(self, runner) -> None:
        """Let the hub defer, before anything is written to it."""
        DeferredMessageHub.take_over(runner.message_hub)
        super().before_run(runner)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: Optional[dict] = None
    ) -> None:
        """Note the losses."""
        if outputs is not None:
            runner.message_hub.note_iteration(outputs)
