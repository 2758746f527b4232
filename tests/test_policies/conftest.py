"""Every policy takes NumPy arrays and torch tensors alike."""

import numpy as np
import pytest
import torch


@pytest.fixture(params=['numpy', 'torch'])
def array(request):
    """Makes an array of lists: float32, or of the type that is named."""

    def make(values, dtype='float32'):
        if request.param == 'numpy':
            return np.array(values, dtype)
        return torch.tensor(values, dtype=getattr(torch, dtype))

    return make
