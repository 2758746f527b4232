"""Tensors from lists."""

import pytest
import torch


@pytest.fixture
def array():
    """Makes a tensor of lists: float32, or of the type that is named."""
    return lambda values, dtype='float32': torch.tensor(values, dtype=getattr(torch, dtype))
