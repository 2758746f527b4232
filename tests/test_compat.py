"""The mends of today's torch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmpretrain.models.utils.attention import ShiftWindowMSA

from mmrazor_byot import compat
from mmrazor_byot.checkpoint import load_from_local

ROOT = Path(__file__).parents[1]

IMPORT_MMRAZOR = """
import json, sys
import mmrazor_byot
heavy = sorted({name.split('.')[0] for name in sys.modules} & {
    'torch', 'numpy', 'mmengine', 'mmcv', 'mmpretrain', 'mmrazor'})
import mmcv.cnn.bricks.transformer
import mmrazor.models, mmrazor.engine, mmrazor.datasets
from mmrazor.registry import MODELS
from mmengine.runner.checkpoint import CheckpointLoader
loader = CheckpointLoader._get_checkpoint_loader('a.pth')
import mmpretrain
print(json.dumps(dict(
    heavy=heavy,
    distiller=MODELS.get('SelfDistill').__name__,
    loader=loader.__module__,
    recipes=len(mmpretrain.list_models('byot_')))))
"""

IMPORT_MMENGINE_FIRST = """
import json
import os
from mmengine.runner.checkpoint import CheckpointLoader
before = CheckpointLoader._get_checkpoint_loader('a.pth').__module__
import mmrazor_byot
after = CheckpointLoader._get_checkpoint_loader('a.pth').__module__
print(json.dumps([before, after]))
"""

USE_FAKE_MMRAZOR = """
import json, sys
import mmrazor_byot
from mmrazor.structures.quantization import BackendConfigs, QConfigHandler
try:
    answer = BackendConfigs['native']
except ImportError as e:
    answer = str(e)
print(json.dumps(dict(
    answer=answer,
    loaded=[n for n in sys.modules if n.endswith('quantization.part')])))
"""

WORKING = "BackendConfigs, QConfigHandler = dict(native='real'), object"


def run(code, cwd=ROOT, **env):
    """Run code in a fresh Python; its answer is the last line, as JSON."""
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 'Fail to import' not in done.stderr  # mmcv-lite's advice
    return json.loads(done.stdout.strip().split('\n')[-1])


@pytest.fixture(scope='module')
def fresh():
    """What a Python saw that imported mmrazor_byot, and then MMRazor."""
    return run(IMPORT_MMRAZOR)


def test_import_is_light(fresh):
    assert fresh['heavy'] == []


def test_mmrazor_imports_after_us(fresh):
    assert fresh['distiller'] == 'SelfDistill'


def test_mmpretrain_knows_the_recipes(fresh):
    assert fresh['recipes'] > 20


def test_safe_loader_when_mmengine_comes_later(fresh):
    assert fresh['loader'] == 'mmrazor_byot.checkpoint'


def test_safe_loader_when_mmengine_came_first():
    assert run(IMPORT_MMENGINE_FIRST) == [
        'mmengine.runner.checkpoint',
        'mmrazor_byot.checkpoint',
    ]


@pytest.fixture
def use_fake_mmrazor(tmp_path):
    """Runs an MMRazor of which only the quantization exists."""
    folder = tmp_path / 'mmrazor' / 'structures' / 'quantization'
    folder.mkdir(parents=True)
    (tmp_path / 'mmrazor' / '__init__.py').touch()
    (tmp_path / 'mmrazor' / 'structures' / '__init__.py').touch()
    (folder / 'part.py').touch()

    def use(source):
        (folder / '__init__.py').write_text(source)
        return run(USE_FAKE_MMRAZOR, PYTHONPATH=str(tmp_path))

    return use


def test_working_quantization_is_left_alone(use_fake_mmrazor):
    seen = use_fake_mmrazor(f'from . import part\n{WORKING}')
    assert seen == {
        'answer': 'real',
        'loaded': ['mmrazor.structures.quantization.part'],
    }


@pytest.mark.parametrize(
    'fault',
    [
        "raise ImportError('not for this torch')",
        "raise AttributeError('not for this torch')",
    ],
)
@pytest.mark.parametrize('before', ['', WORKING])
def test_stand_in_for_a_failing_quantization(use_fake_mmrazor, fault, before):
    seen = use_fake_mmrazor(f'from . import part\n{before}\n{fault}')
    assert seen['answer'].startswith('BackendConfigs belongs to MMRazor')
    assert '(not for this torch)' in seen['answer']
    assert seen['loaded'] == []


def test_other_faults_are_not_hidden(use_fake_mmrazor):
    with pytest.raises(AssertionError, match='ZeroDivisionError'):
        use_fake_mmrazor('1 / 0')


@pytest.fixture
def stand_in(monkeypatch):
    module = ModuleType('quantization_stand_in')
    compat._stand_in(module, ImportError('no FakeQuantize'))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.mark.parametrize(
    'use, name',
    [
        ('m.BackendConfigs()', 'BackendConfigs'),
        ("m.BackendConfigs['native']", 'BackendConfigs'),
        ('m.QConfigHandler(1, w=2)', 'QConfigHandler'),
        ('m.QConfigHandler.replace_fakequant', 'QConfigHandler'),
        ('m.TorchConfig', 'mmrazor.structures.quantization.TorchConfig'),
        (
            'from quantization_stand_in import TorchConfig',
            'mmrazor.structures.quantization.TorchConfig',
        ),
    ],
)
def test_use_of_a_stand_in_names_it(stand_in, use, name):
    with pytest.raises(ImportError) as caught:
        exec(use, {'m': stand_in})
    message = str(caught.value)
    assert message.startswith(f"{name} belongs to MMRazor's quantization")
    assert '(no FakeQuantize)' in message


def test_stand_in_can_be_looked_at(stand_in):
    """isinstance and hasattr of special names are no use."""
    assert not isinstance(1, stand_in.BackendConfigs)
    assert not hasattr(stand_in.BackendConfigs, '__wrapped__')
    assert not hasattr(stand_in, '__wrapped__')
    assert sorted(stand_in.__all__) == ['BackendConfigs', 'QConfigHandler']


def test_install_twice_adds_one_finder(monkeypatch):
    monkeypatch.setattr(
        sys,
        'meta_path',
        [f for f in sys.meta_path if not isinstance(f, compat._MendFinder)],
    )
    others = list(sys.meta_path)
    compat.install()
    compat.install()
    first, *rest = sys.meta_path
    assert isinstance(first, compat._MendFinder)
    assert rest == others


def test_install_mends_what_is_imported_already(monkeypatch):
    schemes = mmengine_checkpoint.CheckpointLoader._schemes
    monkeypatch.setitem(schemes, '', mmengine_checkpoint.load_from_local)
    compat.install()
    loader = mmengine_checkpoint.CheckpointLoader._get_checkpoint_loader
    assert loader('a.pth') is load_from_local
    assert loader('https://a.org/a.pth').__name__ == 'load_from_http'


def test_finder_leaves_other_modules_alone():
    finder = compat._MendFinder()
    assert finder.find_spec('mmengine.runner.runner') is None
    assert finder.find_spec('json') is None


@pytest.fixture
def select(monkeypatch):
    """Notes the devices that are selected."""
    devices = []
    monkeypatch.setattr(torch.cuda, 'set_device', devices.append)
    return devices


@pytest.mark.parametrize('has_gpu, selected', [(False, [9]), (True, [3, 9])])
def test_no_cuda_device(monkeypatch, select, has_gpu, selected):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_gpu)
    with compat.no_cuda_device():
        torch.cuda.set_device(3)
    torch.cuda.set_device(9)
    assert select == selected


def test_no_cuda_device_restores_after_an_error(monkeypatch, select):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ZeroDivisionError), compat.no_cuda_device():
        torch.cuda.set_device(1 // 0)
    torch.cuda.set_device(9)
    assert select == [9]


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('height, width, size', [(14, 7, 7), (6, 4, 2)])
def test_symbolic_batch_reverses_windows_alike(batch, height, width, size):
    theirs = ShiftWindowMSA.window_reverse
    count = batch * (height // size) * (width // size)
    windows = torch.randn(count, size, size, 5)
    with compat.symbolic_batch():
        ours = ShiftWindowMSA.window_reverse
        found = ours(windows, height, width, size)
    assert ours is not theirs
    assert ShiftWindowMSA.window_reverse is theirs
    assert found.shape == (batch, height, width, 5)
    assert torch.equal(found, theirs(windows, height, width, size))
    # The second row of windows begins behind the first.
    assert torch.equal(found[0, size, 0], windows[width // size, 0, 0])
