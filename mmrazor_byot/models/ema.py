"""An exponential moving average of the weights without waiting for the GPU."""

from typing import Any, List, Optional, Tuple

import torch
from mmengine.model import ExponentialMovingAverage as MMEngineEMA
from torch import Tensor, nn

from mmrazor_byot.registry import MODELS

Pairs = List[Tuple[Tensor, Tensor]]


@MODELS.register_module()
class ExponentialMovingAverage(MMEngineEMA):
    """MMEngine's moving average, with all weights updated by one operation.

    MMEngine's keeps the number of steps on the device and reads it twice each iteration, which
    synchronizes with the GPU, and updates the weights one by one. Here the number is also kept in
    Python. Arguments, averages and checkpoints are MMEngine's. To use it:

        custom_hooks = [
            dict(type='EMAHook', update_buffers=True,
                 ema_type='mmrazor_byot.ExponentialMovingAverage')]

    With ``update_buffers`` the statistics of batch norm are averaged too. By default they are those
    of the last weights, which do not fit the average.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._steps = 0  # the value of the buffer `steps`
        # The model and tensor pairs; a tuple, so that the model is not registered as a submodule.
        self._source: Tuple[Optional[nn.Module], Pairs, Pairs] = None, [], []

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load the averages and the number of steps."""
        result = super().load_state_dict(*args, **kwargs)
        self._steps = int(self.steps)
        return result

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Update the averages with the weights of a model."""
        if self._source[0] is not model:
            self._source = model, *self._pair(model)
        _, averaged, copied = self._source
        if self._steps == 0:
            copied = averaged + copied
        elif self._steps % self.interval == 0:
            floats = [pair for pair in averaged if pair[0].is_floating_point()]
            averages = [average for average, _ in floats]
            sources = [source.to(average.device) for average, source in floats]
            torch._foreach_lerp_(averages, sources, self.momentum)
        for average, source in copied:
            average.copy_(source)
        self._steps += 1
        self.steps += 1

    def _pair(self, model: nn.Module) -> Tuple[Pairs, Pairs]:
        """Pair tensors of the average and the model: those to average, those to copy each time."""
        copied: Pairs = []
        if self.update_buffers:
            averages = self.module.state_dict(keep_vars=True)
            sources = model.state_dict(keep_vars=True)
        else:
            averages = dict(self.module.named_parameters())
            sources = dict(model.named_parameters())
            copied = list(zip(self.module.buffers(), model.buffers()))
        return [(average, sources[name]) for name, average in averages.items()], copied
