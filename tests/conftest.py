"""What many tests build."""

# ruff: noqa: E402
import fcntl
import os
import shutil
import sys
from pathlib import Path

# Before torch: tests share the cores with each other, and with processes that they start.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
import torch
from file_server import server  # noqa: F401
from PIL import Image
from run import DIGITS, ROOT, WEIGHTS, end_servers, run, succeeded, tool
from tiny import batch, build_byot, mmpretrain_scope, tiny_architecture  # noqa: F401


def pytest_sessionfinish():
    end_servers()


@pytest.fixture(scope='session')
def once(tmp_path_factory):
    """Calls ``make(folder)`` for a new folder NAME, once for all processes of a run."""
    root = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        root = root.parent

    def once(name, make) -> Path:
        folder = root / name
        with open(root / f'{name}.lock', 'a+') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if lock.seek(0, os.SEEK_END) == 0:
                folder.mkdir(exist_ok=True)
                make(folder)
                lock.write('made')
        return folder

    return once


@pytest.fixture(scope='session')
def digits_network():
    """The shipped digits network, for evaluation."""
    from mmrazor_byot.apis.model import get_model

    return get_model(DIGITS, str(WEIGHTS))


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
def tinted(digits_network, digits_images) -> tuple:
    """A digit in color (32, 32, 3) uint8 RGB, and torch's probabilities (4, 10).

    Those of the image with red and blue exchanged come third.
    """
    image = (digits_images[0][5] * [1.0, 0.6, 0.2]).astype('uint8')
    inputs = torch.from_numpy(image).permute(2, 0, 1).double()
    inputs = (torch.stack([inputs, inputs.flip(0)]) - 77.8) / 82.5
    with torch.no_grad():
        answers = digits_network(inputs.float(), mode='tensor')
    rgb, bgr = torch.stack(list(answers), dim=1).softmax(-1).numpy()
    assert abs(rgb - bgr).max() > 0.01
    return image, rgb, bgr


@pytest.fixture
def doors(tinted, tmp_path) -> list:
    """That digit in every form in which an image may come, with the order of its channels."""
    rgb, path = tinted[0], tmp_path / 'doors' / 'a.png'
    path.parent.mkdir()
    Image.fromarray(rgb).save(path)
    arrays = [(rgb, 'RGB'), (rgb[..., ::-1], 'BGR'), (rgb[..., ::-1].copy(), 'BGR')]
    files = str(path), path, path.parent, path.read_bytes(), Image.open(path), Image.fromarray(rgb)
    return [(file, None) for file in files] + arrays


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
def exported(once) -> Path:
    """The digits network as tools/deploy/export_onnx.py writes it.

    All four exits, thresholds of 0.95.
    """

    def make(folder):
        policy = folder / 'policy.json'
        policy.write_text(
            '{"format": "mmrazor_byot exit policy 1", "num_exits": 4, "num_classes": 10, '
            '"policy": {"type": "ConfidencePolicy", "thresholds": 0.95}}'
        )
        words = DIGITS, WEIGHTS, '--out', folder / 'exported.onnx', '--policy', policy
        succeeded(tool('deploy/export_onnx.py', *words))

    return once('exported', make) / 'exported.onnx'


@pytest.fixture(scope='session')
def trained(once) -> Path:
    """Work dir of the README's first command: the digits recipe on two processes.

    Its 60 epochs are cut to 8 of smaller batches; ``printed.txt`` has what the command printed.
    """

    def make(folder):
        options = (
            'train_cfg.max_epochs=8',
            'train_cfg.val_interval=8',
            'default_hooks.checkpoint.interval=8',
            'train_dataloader.batch_size=16',
            'optim_wrapper.optimizer.lr=0.1',
            'param_scheduler.0.end=1',
            'param_scheduler.1.begin=1',
            'param_scheduler.1.end=8',
        )
        words = DIGITS, '2', '--work-dir', folder, '--cfg-options', *options
        (folder / 'printed.txt').write_text(succeeded(tool('dist_train.sh', *words)))

    return once('trained', make)


@pytest.fixture
def disk(tmp_path):
    """Makes a folder on a disk of 3 MB of which so many bytes are free; the limit elsewhere.

    Where no disk can be mounted, the second value is the limit of a file's size, for ``script``.
    """
    mounted = []

    def disk(free) -> tuple:
        folder = tmp_path / 'disk'
        folder.mkdir()
        if run('mount', '-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', folder).returncode:
            return folder, dict(file_size=free)
        mounted.append(folder)
        (folder / 'fill').write_bytes(bytes(3 * 2**20 - -(-free // 4096) * 4096))
        return folder, {}

    yield disk
    for folder in mounted:
        run('umount', '-l', folder)


@pytest.fixture(scope='session')
def distributions(once) -> Path:
    """Folder with the wheel and the source archive of a clean copy."""
    parts = 'configs', 'mmrazor_byot', 'projects', 'requirements', 'tools'
    files = 'LICENSE', 'MANIFEST.in', 'README.md', 'model-index.yml', 'setup.cfg', 'setup.py'

    def make(folder):
        for part in parts:
            unwanted = shutil.ignore_patterns('__pycache__', '.mim')
            shutil.copytree(ROOT / part, folder / part, ignore=unwanted)
        for file in files:
            shutil.copy(ROOT / file, folder)
        command = sys.executable, 'setup.py', '-q', 'sdist', 'bdist_wheel'
        succeeded(run(*command, cwd=folder, PYTHONPATH=''))

    return once('distributions', make) / 'dist'
