"""Many numbers from a GPU in one transfer."""

from typing import Dict, List, Sequence, Tuple, Union

import torch
from torch import Tensor

Number = Union[int, float]


def fetch(values: Sequence[Union[Tensor, Number]]) -> List[Number]:
    """Python's numbers of scalar tensors, as ``.item()`` gives them.

    ``.item()`` stops the host until the device has caught up; here that happens once for all values
    of a dtype and device.

    Args:
        values (Sequence[Tensor | int | float]): Tensors of no dimension, and numbers, which stay as
            they are.

    Returns:
        list[int | float]: In the same order.
    """
    fetched = list(values)
    groups: Dict[Tuple, List[int]] = {}
    for place, value in enumerate(fetched):
        if isinstance(value, Tensor):
            groups.setdefault((value.dtype, value.device), []).append(place)
    for places in groups.values():
        numbers = torch.stack([fetched[i] for i in places]).tolist()
        for place, number in zip(places, numbers):
            fetched[place] = number
    return fetched
