"""The sum of many small losses, in few operations."""

from collections import OrderedDict
from typing import Dict, Tuple

import torch
from mmengine.model import BaseModel
from torch import Tensor


class LossSum(BaseModel):
    """``parse_losses`` without three operations for each loss.

    MMEngine takes the mean of every loss and adds them one by one; each of these is a launch on the
    device, forward and backward, for one number. Scalars of one kind are stacked and summed
    instead. The gradients are MMEngine's to the last bit (each loss gets 1), the sum is up to
    rounding.
    """

    def parse_losses(self, losses: Dict[str, Tensor]) -> Tuple[Tensor, Dict[str, Tensor]]:
        """Sum the losses, and list them for the log.

        Args:
            losses (dict[str, Tensor]): As :meth:`loss` returns them.

        Returns:
            tuple[Tensor, dict]: The sum; it and each loss, without graph.
        """
        if not _are_scalars_of_one_kind(losses):
            return super().parse_losses(losses)
        values = torch.stack(list(losses.values()))
        total = values.sum()
        log_vars = OrderedDict(loss=total.detach())
        log_vars.update(zip(losses, values.detach().unbind()))
        return total, log_vars


def _are_scalars_of_one_kind(losses: Dict[str, Tensor]) -> bool:
    values = list(losses.values())
    if not all(isinstance(v, Tensor) and v.ndim == 0 for v in values):
        return False
    kinds = {(v.dtype, v.device) for v in values}
    return len(kinds) == 1 and all('loss' in name for name in losses)
