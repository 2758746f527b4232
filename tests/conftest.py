"""What many tests build."""

# ruff: noqa: E402
import fcntl
import os
from pathlib import Path

# Before torch: tests share the cores with each other, and with processes that they start.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
import torch
from run import DIGITS, succeeded, tool
from tiny import batch, build_byot, mmpretrain_scope, tiny_architecture  # noqa: F401

#: The digits network that ships with the project.
DIGITS_WEIGHTS = next((DIGITS.parent / 'weights').glob('byot_resnet18_2xb64_digits-*'))


@pytest.fixture(scope='session')
def digits_network():
    """The shipped digits network, for evaluation."""
    from mmrazor_byot.apis.model import get_model

    return get_model(DIGITS, str(DIGITS_WEIGHTS))


@pytest.fixture(scope='session')
def digits_images() -> tuple:
    """Images (599, 32, 32, 3) uint8 RGB and labels (599,) of the test."""
    from mmrazor_byot.datasets.digits import Digits

    data = Digits(split='test')
    data.full_init()
    return data.images, data.labels


@pytest.fixture(scope='session')
def digits_logits(digits_network, digits_images) -> torch.Tensor:
    """What torch says of them, (599, 4, 10); normalised here, by the numbers of the recipe."""
    inputs = (torch.from_numpy(digits_images[0]).double() - 77.8) / 82.5
    with torch.no_grad():
        answers = digits_network(inputs.permute(0, 3, 1, 2).float(), mode='tensor')
    return torch.stack(list(answers), dim=1)


@pytest.fixture(scope='session')
def digits_stages(digits_network):
    """Its four stages as ONNX."""
    from mmrazor_byot.early_exit import StagedNetwork
    from mmrazor_byot.export.preprocessing import preprocessing
    from mmrazor_byot.export.stages import export_stages

    network = StagedNetwork(digits_network)
    return export_stages(
        network, preprocessing(digits_network._config, digits_network), [1, 2, 3, 4]
    )


@pytest.fixture(scope='session')
def exported(tmp_path_factory) -> Path:
    """The digits network as tools/deploy/export_onnx.py writes it; made once for all processes.

    All four exits, thresholds of 0.95; ``exported.txt`` beside it has what the tool printed.
    """
    folder = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        folder = folder.parent
    path = folder / 'exported.onnx'
    with open(folder / 'exported.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            policy = folder / 'exported.json'
            policy.write_text(
                '{"format": "mmrazor_byot exit policy 1", "num_exits": 4, "num_classes": 10, '
                '"policy": {"type": "ConfidencePolicy", "thresholds": 0.95}}'
            )
            words = DIGITS, DIGITS_WEIGHTS, '--out', path, '--policy', policy
            text = succeeded(tool('deploy/export_onnx.py', *words))
            (folder / 'exported.txt').write_text(text)
    return path
