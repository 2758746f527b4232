"""Weights in the layout that convolutions are fastest in."""

from typing import Iterator

import torch
from mmengine.hooks import EMAHook, Hook
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mmrazor_byot.compat import check_narrow_convolutions
from mmrazor_byot.registry import HOOKS

from .unwrap import unwrap


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """``channels_last = True`` in a config: train and test in NHWC.

    Model, moving average, gradient buckets and optimizer state are brought to
    ``torch.channels_last``, whatever layout a checkpoint has; checkpoints are written in the usual
    one. Results are the same but for rounding.

    Raises:
        ConfigError: On a CPU, a network too narrow for it.
    """

    priority = 'VERY_LOW'  # behind EMAHook, whose part of a file it sees

    def before_train(self, runner) -> None:
        """Convert all that takes part in training.

        Not earlier: random weights are drawn in the order of memory, so a seed would mean others.
        """
        if runner.cfg.get('channels_last'):
            self._convert(runner)
            follow_weights(runner.optim_wrapper.optimizer)

    def before_val(self, runner) -> None:
        """Convert a model that is not trained before."""
        if runner.cfg.get('channels_last'):
            self._convert(runner)

    before_test = before_val

    def _convert(self, runner) -> None:
        model = unwrap(runner.model)
        if all(map(_is_channels_last, model.parameters())):
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
        if not runner.cfg.get('channels_last'):
            return
        for tensors in _dicts(checkpoint):
            for name, value in tensors.items():
                if isinstance(value, Tensor):
                    tensors[name] = value.contiguous()


def _is_channels_last(weight: Tensor) -> bool:
    return weight.ndim != 4 or weight.is_contiguous(memory_format=torch.channels_last)


def follow_weights(optimizer: torch.optim.Optimizer) -> None:
    """Bring an optimizer's state to the layout of the weights.

    Args:
        optimizer (Optimizer): Its momentum buffers and so on are replaced where their strides are
            not those of the weight.
    """
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if (
                isinstance(value, Tensor)
                and value.shape == weight.shape
                and value.stride() != weight.stride()
            ):
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _dicts(checkpoint: dict) -> Iterator[dict]:
    """The dicts of a checkpoint that have the model's tensors as values."""
    for key in ('state_dict', 'ema_state_dict'):
        yield checkpoint.get(key, {})
    yield from checkpoint.get('optimizer', {}).get('state', {}).values()
