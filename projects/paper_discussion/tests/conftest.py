"""What many tests build."""

# ruff: noqa: E402
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch, as in tests/conftest.py

import pytest
import torch
from run import WEIGHTS
from tiny import batch, build_byot, mmpretrain_scope, tiny_architecture  # noqa: F401


@pytest.fixture(scope='session')
def plain_weights(tmp_path_factory) -> str:
    """File with the weights that the plain recipe has of the shipped digits network."""
    path = tmp_path_factory.mktemp('plain') / 'plain.pth'
    state = torch.load(WEIGHTS, weights_only=False)['state_dict']
    trunk = 'architecture.'
    state = {k.removeprefix(trunk): v for k, v in state.items() if k.startswith(trunk)}
    torch.save(dict(state_dict=state), path)
    return str(path)
