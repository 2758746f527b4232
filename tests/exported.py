"""The shipped digits network, exported once for all tests."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from run import DIGITS, succeeded, tool
from torch.torch_version import TorchVersion

from mmrazor_byot.datasets.digits import Digits
from mmrazor_byot.deploy.export import load_byot
from mmrazor_byot.deploy.onnx_export import OLDEST_TORCH
from mmrazor_byot.policies import ConfidencePolicy, PolicyFile, policy_text

(WEIGHTS,) = (DIGITS.parent / 'weights').glob('byot_resnet18_2xb64_digits-*')
POLICY = ConfidencePolicy([0.95, None, 0.9])


needs_new_torch = pytest.mark.skipif(
    TorchVersion(torch.__version__) < OLDEST_TORCH, reason='this torch cannot export'
)


@functools.lru_cache
def _export(folder: Path) -> str:
    policy = folder / 'policy.json'
    policy.write_text(policy_text(PolicyFile(POLICY, 4, 10)))
    return succeeded(
        tool(
            'deploy/export_onnx.py',
            DIGITS,
            WEIGHTS,
            '--out',
            folder / 'digits',
            '--int8',
            '--policy',
            policy,
            '--images',
            48,
        )
    )


_folder: list = []


@pytest.fixture(scope='session')
def exported(tmp_path_factory) -> Path:
    """Folder of the exported network: fp32, int8 and a policy."""
    if TorchVersion(torch.__version__) < OLDEST_TORCH:
        pytest.skip('this torch cannot export')
    if not _folder:  # each module that imports this fixture has its own
        _folder.append(tmp_path_factory.mktemp('exported'))
    _export(_folder[0])
    return _folder[0] / 'digits'


@pytest.fixture(scope='session')
def printed(exported) -> str:
    """What the export printed."""
    return _export(_folder[0])


@functools.lru_cache
def digits_test() -> tuple:
    """Images (599, 32, 32, 3) uint8 RGB and labels (599,) of the test."""
    data = Digits(split='test')
    data.full_init()
    return data.images, data.labels


@functools.lru_cache
def torch_logits(count: int) -> np.ndarray:
    """What torch says of the first test images, (C, N, K).

    They are normalised here, by the numbers of the recipe.
    """
    model, _, _ = load_byot(Config.fromfile(DIGITS), str(WEIGHTS))
    images = digits_test()[0][:count].astype(np.float32)
    inputs = torch.from_numpy((images - 77.8) / 82.5).permute(0, 3, 1, 2)
    with torch.no_grad():
        return torch.stack(model(inputs.float(), mode='tensor')).numpy()


def edit_manifest(folder: Path, **changes) -> None:
    """Change entries of a manifest."""
    path = folder / 'manifest.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
