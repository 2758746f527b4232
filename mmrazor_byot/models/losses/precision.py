"""What mixed precision must not round."""

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """Half precision as float32; any other tensor as it is.

    Args:
        x (Tensor): Of any shape.
    """
    half = x.dtype in (torch.float16, torch.bfloat16)
    return x.float() if half else x
