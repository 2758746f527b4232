"""What several hooks need."""

from typing import Dict, List, Sequence, Tuple, Union

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

Number = Union[int, float]


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, taken out of DDP or another wrapper."""
    return model.module if is_model_wrapper(model) else model


def is_training(runner) -> bool:
    """Whether a runner trains: it builds its train loop before any hook runs, a tester never."""
    return not isinstance(runner._train_loop, (dict, type(None)))


def fetch(iterations: Sequence[Dict[str, Union[Tensor, Number]]]) -> List[Dict[str, Number]]:
    """The scalars of some iterations as ``.item()`` gives them.

    ``.item()`` stops the host until the device has caught up; here that happens once for all
    tensors of a dtype and device.

    Args:
        iterations (Sequence[dict]): Names to tensors of one element, and numbers.
    """
    values = [value for scalars in iterations for value in scalars.values()]
    places: Dict[Tuple, List[int]] = {}
    for i, value in enumerate(values):
        if isinstance(value, Tensor):
            places.setdefault((value.dtype, value.device), []).append(i)
    for alike in places.values():
        numbers = torch.stack([values[i].reshape(()) for i in alike]).tolist()
        for i, number in zip(alike, numbers):
            values[i] = number
    rest = iter(values)
    return [dict(zip(scalars, rest)) for scalars in iterations]
