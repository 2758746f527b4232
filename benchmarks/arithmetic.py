"""What a step would take if it were nothing but its multiplications."""

import torch
from machine import synchronize
from torch.utils.flop_counter import FlopCounterMode
from trainee import Trainee

from mmrazor_byot.runtime.timing import interleaved


def step_macs(trainee: Trainee) -> int:
    """Multiply-adds of convolutions and matrix products in a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        trainee.step()
    return counter.get_total_flops() // 2  # torch counts a multiply-add as two


def matmul_rate(device: str, dtype: torch.dtype, seconds: float = 2.0) -> float:
    """Multiply-adds a second in a large matrix product, the best of several.

    Args:
        device: ``'cpu'`` or ``'cuda'``.
        dtype: Of the matrices.
        seconds: For how long to measure.
    """
    size = 8192 if device == 'cuda' else 2048
    a, b = torch.randn(2, size, size, device=device).to(dtype)

    def multiply() -> None:
        torch.mm(a, b)
        synchronize()

    return size**3 / min(interleaved(dict(mm=multiply), seconds)['mm'])
