"""Weights in the layout that convolutions are fastest in."""

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.utils import apply_to
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mmrazor_byot.compat import check_narrow_convolutions
from mmrazor_byot.registry import HOOKS

from .utils import unwrap


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """``channels_last = True`` in a config: train and test in NHWC.

    Model, moving average, gradient buckets and optimizer state are brought to
    ``torch.channels_last``, whatever layout a checkpoint has; checkpoints are written in the usual
    one. Results are the same but for rounding.

    Raises:
        ConfigError: On a CPU, a network too narrow for it.
    """

    priority = 'VERY_LOW'  # after EMAHook, whose part of a checkpoint it sees

    def before_train(self, runner) -> None:
        """Convert all that takes part in training.

        Not earlier: random weights are drawn in the order of memory, so a seed would mean others.
        """
        if not runner.cfg.get('channels_last'):
            return
        self._convert(runner)
        for state in runner.optim_wrapper.optimizer.state.values():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.ndim == 4:  # momentum, of a checkpoint
                    state[name] = value.to(memory_format=torch.channels_last)

    def before_val(self, runner) -> None:
        """Convert a model that is not trained before."""
        if runner.cfg.get('channels_last'):
            self._convert(runner)

    before_test = before_val

    def _convert(self, runner) -> None:
        model = unwrap(runner.model)
        weights = [p for p in model.parameters() if p.ndim == 4]
        if all(p.is_contiguous(memory_format=torch.channels_last) for p in weights):
            return
        check_narrow_convolutions(model, 'channels_last')
        model.to(memory_format=torch.channels_last)
        if isinstance(runner.model, DistributedDataParallel):
            # Its gradient buckets would keep the old layout.
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                average = hook.ema_model.to(memory_format=torch.channels_last)
                if average.update_buffers:  # it lists the storage itself
                    average.avg_parameters = average.module.state_dict()

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Write the usual layout: some readers of files know no other."""
        if runner.cfg.get('channels_last'):
            for part in ('state_dict', 'ema_state_dict', 'optimizer'):
                state = checkpoint.get(part, {})
                state.update(apply_to(state, torch.is_tensor, Tensor.contiguous))
