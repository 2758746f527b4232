"""Drawn numbers go to the images' device in one copy, without waiting."""

from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch

ALIGN = 16  # bytes; every dtype may start there
Draws = Dict[str, np.ndarray]


def to_device(draws: Sequence[Draws], device: torch.device) -> List[Dict[str, torch.Tensor]]:
    """Arrays as tensors on a device.

    On the CPU they are shared. For any other device they are packed into one
    buffer, pinned for CUDA, and copied at once: the host does not wait.

    Args:
        draws (Sequence[dict]): Arrays by name, a dict a step.
        device (torch.device): Where to.

    Returns:
        list[dict]: The tensors under the same names.
    """
    if device.type == 'cpu':
        return [{name: torch.from_numpy(array) for name, array in step.items()} for step in draws]
    arrays = [array for step in draws for array in step.values()]
    buffer, offsets = pack(arrays, pinned=device.type == 'cuda')
    tensors = iter(unpack(buffer.to(device, non_blocking=True), arrays, offsets))
    return [{name: next(tensors) for name in step} for step in draws]


def pack(arrays: Sequence[np.ndarray], pinned: bool = False) -> Tuple[torch.Tensor, List[int]]:
    """One buffer of the bytes of all arrays.

    Args:
        arrays (Sequence[np.ndarray]): Of any dtypes and shapes.
        pinned (bool): Whether in page-locked memory. Defaults to False.

    Returns:
        tuple: The buffer, uint8 (B,), and where in it each array starts.
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
    """Views into a buffer, see :func:`pack`.

    Args:
        buffer (torch.Tensor): uint8 (B,), on any device.
        arrays (Sequence[np.ndarray]): For their dtypes and shapes only.
        offsets (Sequence[int]): Where each starts.

    Returns:
        list[torch.Tensor]: One for each array.
    """
    return [
        buffer[start : start + array.nbytes].view(_TORCH[array.dtype.char]).view(array.shape)
        for array, start in zip(arrays, offsets)
    ]


_TORCH = {
    np.dtype(numpy).char: dtype
    for numpy, dtype in (
        ('uint8', torch.uint8),
        ('int32', torch.int32),
        ('int64', torch.int64),
        ('float32', torch.float32),
        ('float64', torch.float64),
        ('bool', torch.bool),
    )
}
