"""What a step would take if it were nothing but its multiplications."""

import time

import torch
from machine import synchronize
from torch.utils.flop_counter import FlopCounterMode
from trainee import Trainee


def step_flops(trainee: Trainee) -> int:
    """Floating-point operations of a step, forward and backward.

    A multiplication and the addition behind it are two, as in the rates of processors; convolutions
    and matrix products are counted.

    Args:
        trainee: It takes one step.
    """
    with FlopCounterMode(display=False) as counter:
        trainee.step()
    return counter.get_total_flops()


def matmul_rate(device: str, dtype: torch.dtype, seconds: float = 2.0) -> float:
    """Operations a second in large matrix products.

    Args:
        device: ``'cpu'`` or ``'cuda'``.
        dtype: Of the matrices.
        seconds: For how long to measure.

    Returns:
        float: The best of several products.
    """
    size = 8192 if device == 'cuda' else 2048
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    best, end = float('inf'), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float('inf'):
        start = time.perf_counter()
        torch.mm(a, b)
        synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
