"""What torch is needed is said, on every torch."""

import pytest
import torch

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.inference import StagedNetwork, staged


def test_old_torch_says_so(build_byot, monkeypatch):
    monkeypatch.setattr(staged, 'OLDEST_TORCH', '99.1')
    with pytest.raises(
        ConfigError,
        match=f'leaving early needs torch 99.1 or newer; this is {torch.__version__[0]}',
    ):
        StagedNetwork(build_byot())
