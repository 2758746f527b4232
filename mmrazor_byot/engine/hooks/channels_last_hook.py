"""Converts weights to the layout in which convolutions are fastest."""

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from mmengine.utils import apply_to
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mmrazor_byot.compat.torch import check_narrow_convolutions
from mmrazor_byot.registry import HOOKS

from .utils import unwrap


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains and tests in NHWC if a config sets ``channels_last = True``.

    Converts the model, its moving average, gradient buckets and optimizer state to
    ``torch.channels_last``; checkpoints stay contiguous. Results differ only by rounding.

    Raises:
        ConfigError: The network is too narrow for it on a CPU.
    """

    priority = 'VERY_LOW'  # after EMAHook, whose state dict it converts

    def before_train(self, runner: Runner) -> None:
        """Convert all training state.

        Not before the weights are initialized: they are drawn in memory order, so the same seed
        would give other weights.
        """
        if not runner.cfg.get('channels_last'):
            return
        self._convert(runner)
        for state in runner.optim_wrapper.optimizer.state.values():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.ndim == 4:  # momentum from a checkpoint
                    state[name] = value.to(memory_format=torch.channels_last)

    def before_val(self, runner: Runner) -> None:
        """Convert the model if it was not trained before."""
        if runner.cfg.get('channels_last'):
            self._convert(runner)

    before_test = before_val

    def _convert(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        weights = [p for p in model.parameters() if p.ndim == 4]
        if all(p.is_contiguous(memory_format=torch.channels_last) for p in weights):
            return
        check_narrow_convolutions(model, 'channels_last')
        model.to(memory_format=torch.channels_last)
        if isinstance(runner.model, DistributedDataParallel):
            # The gradient buckets would keep the old layout.
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                average = hook.ema_model.to(memory_format=torch.channels_last)
                if average.update_buffers:  # its dict refers to the old tensors
                    average.avg_parameters = average.module.state_dict()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save contiguous tensors: some readers of checkpoints expect them."""
        if runner.cfg.get('channels_last'):
            for part in ('state_dict', 'ema_state_dict', 'optimizer'):
                state = checkpoint.get(part, {})
                state.update(apply_to(state, torch.is_tensor, Tensor.contiguous))
