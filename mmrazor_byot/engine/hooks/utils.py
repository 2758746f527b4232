"""Helpers shared by the hooks."""

from typing import Dict, List, Mapping, Sequence, Tuple, Union

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

Number = Union[int, float]


def unwrap(model: nn.Module) -> nn.Module:
    """The model without DDP or another wrapper."""
    return model.get_submodule('module') if is_model_wrapper(model) else model


def is_training(runner: Runner) -> bool:
    """Whether a runner trains: it then builds its train loop before any hook runs."""
    return not isinstance(runner._train_loop, (dict, type(None)))


def fetch_scalars(
    iterations: Sequence[Mapping[str, Union[Tensor, Number]]],
) -> List[Dict[str, Number]]:
    """Convert the scalars of many iterations to numbers.

    ``Tensor.item`` waits for the device; here that happens once for all tensors of a dtype and
    device.

    Args:
        iterations (Sequence[Mapping]): For each iteration, names to tensors of one element or
            numbers.
    """
    tensors: Dict[Tuple[torch.dtype, torch.device], List[Tensor]] = {}
    for scalars in iterations:
        for value in scalars.values():
            if isinstance(value, Tensor):
                tensors.setdefault((value.dtype, value.device), []).append(value.reshape(()))
    numbers = {key: iter(torch.stack(values).tolist()) for key, values in tensors.items()}
    return [
        {
            name: next(numbers[value.dtype, value.device]) if isinstance(value, Tensor) else value
            for name, value in scalars.items()
        }
        for scalars in iterations
    ]
