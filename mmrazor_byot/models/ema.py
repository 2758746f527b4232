"""A moving average of the weights that never waits for the GPU."""

from typing import List, Tuple

import torch
from mmengine.model import ExponentialMovingAverage as MMEngineEMA
from torch import Tensor, nn

from mmrazor_byot.registry import MODELS

Pairs = List[Tuple[Tensor, Tensor]]


@MODELS.register_module()
class ExponentialMovingAverage(MMEngineEMA):
    """MMEngine's moving average, all weights at once.

    MMEngine's keeps its count of steps on the device and reads it twice each iteration, which stops
    a GPU, and updates weight by weight. Here the count is Python's, and one operation updates all.
    Arguments, averages and checkpoints are MMEngine's. To use it:

        custom_hooks = [
            dict(type='EMAHook', update_buffers=True,
                 ema_type='mmrazor_byot.ExponentialMovingAverage')]

    With ``update_buffers`` batch norm's statistics are averaged too; those of the last weights,
    which are the default, do not fit the average.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._steps = 0  # what the buffer `steps` says
        self._followed = None, (), ()

    def load_state_dict(self, *args, **kwargs):
        """Load, and read the count of steps."""
        result = super().load_state_dict(*args, **kwargs)
        self._steps = int(self.steps)
        return result

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take in the weights of an iteration.

        Args:
            model (nn.Module): Whose weights are averaged.
        """
        if self._followed[0] is not model:
            self._followed = model, *self._pair(model)
        _, averaged, copied = self._followed
        if self._steps == 0:
            copied = averaged + copied
        elif self._steps % self.interval == 0:
            averages, sources = zip(*(pair for pair in averaged if pair[0].is_floating_point()))
            sources = [source.to(average.device) for average, source in zip(averages, sources)]
            torch._foreach_lerp_(averages, sources, self.momentum)
        for average, source in copied:
            average.copy_(source)
        self._steps += 1
        self.steps += 1

    def _pair(self, model: nn.Module) -> Tuple[Pairs, Pairs]:
        """Tensors of the average and of the model: those to average, those to copy each time."""
        networks = self.module, model
        if self.update_buffers:
            averages, sources = (network.state_dict(keep_vars=True) for network in networks)
            copied = []
        else:
            averages, sources = (dict(network.named_parameters()) for network in networks)
            copied = list(zip(*(network.buffers() for network in networks)))
        return [(average, sources[name]) for name, average in averages.items()], copied
