"""Drawn numbers go to the images' device in one copy, without waiting."""

from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch

ALIGN = 16  # bytes; every dtype may start there
Draws = Dict[str, np.ndarray]


def to_device(draws: Sequence[Draws], device: torch.device) -> List[Dict[str, torch.Tensor]]:
    """Arrays as tensors on a device, under the same names.

    On the CPU they are shared. For any other device they are packed into one buffer, pinned for
    CUDA, and copied at once: the host does not wait.

    Args:
        draws (Sequence[dict]): Arrays by name, a dict a step.
        device (torch.device): Where to.
    """
    if device.type == 'cpu':
        return [{name: torch.from_numpy(array) for name, array in step.items()} for step in draws]
    arrays = [array for step in draws for array in step.values()]
    buffer, offsets = pack(arrays, pinned=device.type == 'cuda')
    tensors = iter(unpack(buffer.to(device, non_blocking=True), arrays, offsets))
    return [{name: next(tensors) for name in step} for step in draws]


def pack(arrays: Sequence[np.ndarray], pinned: bool = False) -> Tuple[torch.Tensor, List[int]]:
    """One buffer of the bytes of all arrays, uint8 (B,), and where in it each starts.

    Args:
        arrays (Sequence[np.ndarray]): Of any dtypes and shapes.
        pinned (bool): Whether in page-locked memory. Defaults to False.
    """
    offsets, size = [], 0
    for array in arrays:
        offsets.append(size)
        size += -(-array.nbytes // ALIGN) * ALIGN
    buffer = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
    view = buffer.numpy()
    for array, start in zip(arrays, offsets):
        part = view[start : start + array.nbytes].view(array.dtype)
        part.reshape(array.shape)[...] = array
    return buffer, offsets


def unpack(
    buffer: torch.Tensor, arrays: Sequence[np.ndarray], offsets: Sequence[int]
) -> List[torch.Tensor]:
    """Views into a buffer on any device, for arrays as :func:`pack` took them."""
    return [
        buffer[start : start + array.nbytes].view(_dtype(array)).view(array.shape)
        for array, start in zip(arrays, offsets)
    ]


def _dtype(array: np.ndarray) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype
