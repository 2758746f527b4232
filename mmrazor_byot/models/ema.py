"""A moving average of the weights that never waits for the GPU."""

from typing import List, NamedTuple, Optional, Tuple

import torch
from mmengine.model import ExponentialMovingAverage as MMEngineEMA
from torch import Tensor, nn

from mmrazor_byot.registry import MODELS


class Pairs(NamedTuple):
    """Tensors of the average, and beside each the one that it follows."""

    averages: List[Tensor]
    sources: List[Tensor]


@MODELS.register_module()
class ExponentialMovingAverage(MMEngineEMA):
    """MMEngine's moving average, all weights at once.

    MMEngine's keeps its count of steps on the device and asks it twice each iteration, which stops
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
        self._steps = 0  # as the buffer `steps` says, without asking it
        self._paired: Optional[Tuple[nn.Module, List[Pairs]]] = None

    def load_state_dict(self, *args, **kwargs):
        """Load, and read the count of steps."""
        result = super().load_state_dict(*args, **kwargs)
        self._steps, self._paired = int(self.steps), None
        return result

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take in the weights of an iteration.

        Args:
            model (nn.Module): Whose weights are averaged.
        """
        if self._paired is None or self._paired[0] is not model:
            self._paired = model, self._pair(model)
        averaged, copied_once, copied = self._paired[1]
        if self._steps == 0:
            _copy(averaged)
            _copy(copied_once)
        elif self._steps % self.interval == 0 and averaged.averages:
            sources = [s.to(a.device) for s, a in zip(averaged.sources, averaged.averages)]
            torch._foreach_lerp_(averaged.averages, sources, self.momentum)
        _copy(copied)
        self._steps += 1
        self.steps += 1

    def _pair(self, model: nn.Module) -> List[Pairs]:
        """What is averaged, what is copied at first, what each time."""
        averaged, once, always = (Pairs([], []) for _ in range(3))
        persistent = self.module.state_dict().keys()
        named = zip(
            [*self.module.named_parameters(), *self.module.named_buffers()],
            [*model.parameters(), *model.buffers()],
        )
        parameters = {id(p) for p in self.module.parameters()}
        for (name, average), source in named:
            if id(average) not in parameters and not self.update_buffers:
                chosen = always
            elif name not in persistent:
                continue
            else:
                chosen = averaged if average.is_floating_point() else once
            chosen.averages.append(average)
            chosen.sources.append(source)
        return [averaged, once, always]


def _copy(pairs: Pairs) -> None:
    if pairs.averages:
        torch._foreach_copy_(pairs.averages, pairs.sources)
