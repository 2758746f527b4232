"""The patches of the OpenMMLab packages."""

import json
import sys
from types import ModuleType

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmpretrain.models.utils.attention import ShiftWindowMSA
from run import RECIPES, run

from mmrazor_byot import compat
from mmrazor_byot.checkpoint import load_from_address
from mmrazor_byot.compat.quantization import stub_quantization
from mmrazor_byot.compat.torch import symbolic_batch

IMPORT_BEFORE_OTHERS = """
import json, sys
import mmrazor_byot
heavy = sorted({name.split('.')[0] for name in sys.modules} & {
    'torch', 'numpy', 'mmengine', 'mmcv', 'mmpretrain', 'mmrazor'})
import mmcv.cnn.bricks.transformer
import mmrazor.models, mmrazor.engine, mmrazor.datasets
from mmrazor.registry import MODELS
from mmengine.runner.checkpoint import CheckpointLoader
import mmpretrain
print(json.dumps([
    heavy,
    MODELS.get('SelfDistill').__name__,
    CheckpointLoader._get_checkpoint_loader('a.pth').__module__,
    len(mmpretrain.list_models('byot_')) > 20]))
"""

IMPORT_AFTER_MMENGINE = """
import json
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.runner.checkpoint import CheckpointLoader
before = CheckpointLoader._get_checkpoint_loader('a.pth').__module__
import mmrazor_byot
print(json.dumps([
    before,
    CheckpointLoader._get_checkpoint_loader('a.pth').__module__,
    Config.fromfile('mine.py').model.type]))
"""

USE_FAKE_MMRAZOR = """
import json, sys
import mmrazor_byot
from mmrazor.structures import *
from mmrazor.structures.quantization import BackendConfigs, QConfigHandler
try:
    answer = BackendConfigs['native']
except ImportError as e:
    answer = str(e)
print(json.dumps([answer, [n for n in sys.modules if n.endswith('quantization.part')]]))
"""

WORKING = "BackendConfigs, QConfigHandler = dict(native='real'), object"
RECIPE = 'distill/mmcls/byot/byot_resnet18_2xb64_digits.py'


def answer(code, **settings):
    """Run code in a fresh Python; its answer is the last line, as JSON."""
    done = run(sys.executable, '-c', code, **settings)
    assert done.returncode == 0, done.stderr
    assert 'Fail to import' not in done.stderr  # mmcv-lite's advice
    return json.loads(done.stdout.strip().split('\n')[-1])


def test_imported_first_it_is_light_and_patches_the_others():
    seen = answer(IMPORT_BEFORE_OTHERS)
    assert seen == [[], 'SelfDistill', 'mmrazor_byot.checkpoint', True]


@pytest.fixture
def inherits(tmp_path):
    """A config in another folder that changes one thing of a recipe."""

    def write(base):
        path = tmp_path / 'mine.py'
        path.write_text(f'_base_ = {base!r}\nmodel = dict(hint_loss=dict(loss_weight=0.5))\n')
        return path

    return write


def test_imported_after_mmengine_it_patches_too(inherits):
    folder = inherits(f'mmrazor_byot::{RECIPE}').parent
    assert answer(IMPORT_AFTER_MMENGINE, cwd=folder) == [
        'mmengine.runner.checkpoint',
        'mmrazor_byot.checkpoint',
        'mmrazor_byot.BYOT',
    ]


@pytest.mark.parametrize('base', [f'mmrazor_byot::{RECIPE}', str(RECIPES / RECIPE.split('/')[-1])])
def test_configs_inherit_from_any_folder(inherits, monkeypatch, base):
    path = inherits(base)
    monkeypatch.chdir(path.parent)
    found, recipe = Config.fromfile('mine.py'), get_config(f'mmrazor_byot::{RECIPE}')
    assert recipe.model.hint_loss.loss_weight == 0.03
    recipe.model.hint_loss.loss_weight = 0.5
    assert found.to_dict() == recipe.to_dict()
    assert MODELS.build(found.model).num_exits == 4


def test_get_config_of_mmengine():
    name = 'mmrazor_byot::' + RECIPE
    assert 'model_path' not in get_config(name)
    assert get_config(name, pretrained=True).model_path == 'zoo://byot_resnet18_2xb64_digits'
    assert get_config('mmpretrain::resnet/resnet18_8xb32_in1k.py').model.type == 'ImageClassifier'
    with pytest.raises(FileNotFoundError, match='no/such.py'):
        get_config('mmrazor_byot::no/such.py')


@pytest.fixture
def use_fake_mmrazor(tmp_path):
    """Runs an MMRazor of which only the quantization exists."""
    folder = tmp_path / 'mmrazor' / 'structures' / 'quantization'
    folder.mkdir(parents=True)
    (tmp_path / 'mmrazor' / '__init__.py').touch()
    (tmp_path / 'mmrazor' / 'structures' / '__init__.py').write_text('from .quantization import *')
    (folder / 'part.py').touch()

    def use(source):
        (folder / '__init__.py').write_text(source)
        sources = f'import sys; sys.path.insert(0, {str(tmp_path)!r})\n'
        return answer(sources + USE_FAKE_MMRAZOR)

    return use


def test_working_quantization_is_left_alone(use_fake_mmrazor):
    seen = use_fake_mmrazor(f'from . import part\n{WORKING}')
    assert seen == ['real', ['mmrazor.structures.quantization.part']]


@pytest.mark.parametrize('error', ['ImportError', 'AttributeError'])
@pytest.mark.parametrize('before', ['', WORKING])
def test_stub_of_a_failing_quantization(use_fake_mmrazor, error, before):
    message, loaded = use_fake_mmrazor(f'from . import part\n{before}\nraise {error}("not so")')
    assert message.startswith('BackendConfigs belongs to MMRazor') and '(not so)' in message
    assert loaded == []


def test_other_errors_are_not_hidden(use_fake_mmrazor):
    with pytest.raises(AssertionError, match='ZeroDivisionError'):
        use_fake_mmrazor('1 / 0')


@pytest.fixture
def stub():
    module = ModuleType('stub')
    stub_quantization(module, ImportError('no FakeQuantize'))
    return module


@pytest.mark.parametrize(
    'use',
    [
        lambda stub: stub(1, w=2),
        lambda stub: stub['native'],
        lambda stub: stub.replace_fakequant,
    ],
)
def test_use_of_a_stub_names_it(stub, use):
    with pytest.raises(ImportError, match=r'QConfigHandler belongs .*\(no FakeQuantize\)'):
        use(stub.QConfigHandler)


def test_inspecting_a_stub_is_not_a_use(stub):
    assert not hasattr(stub, '__wrapped__')
    assert not hasattr(stub.BackendConfigs, '__wrapped__')


def test_install_twice_patches_once(monkeypatch):
    others = [f for f in sys.meta_path if not isinstance(f, compat._PatchFinder)]
    monkeypatch.setattr(sys, 'meta_path', others.copy())
    schemes = mmengine_checkpoint.CheckpointLoader._schemes
    monkeypatch.setitem(schemes, '', mmengine_checkpoint.load_from_local)
    for name in ('load_url', 'load_state_dict'):
        monkeypatch.setattr(mmengine_checkpoint, name, getattr(mmengine_checkpoint, name))
    monkeypatch.setattr(Config, '_get_cfg_path', Config._get_cfg_path)
    monkeypatch.setattr('mmengine.hub.get_config', get_config)
    compat.install()
    once = Config._get_cfg_path
    compat.install()
    assert Config._get_cfg_path is once
    first, *rest = sys.meta_path
    assert isinstance(first, compat._PatchFinder) and rest == others
    assert first.find_spec('mmengine.runner.runner') is None
    loader = mmengine_checkpoint.CheckpointLoader._get_checkpoint_loader
    assert loader('a.pth') is loader('https://a.org/a.pth') is load_from_address
    assert list(mmengine_checkpoint.CheckpointLoader._schemes) == ['zoo://', '']


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('height, width, size', [(14, 7, 7), (6, 4, 2)])
def test_symbolic_batch_reverses_windows_alike(batch, height, width, size):
    theirs = ShiftWindowMSA.window_reverse
    count = batch * (height // size) * (width // size)
    windows = torch.randn(count, size, size, 5)
    with symbolic_batch():
        ours = ShiftWindowMSA.window_reverse
        found = ours(windows, height, width, size)
    assert ours is not theirs
    assert ShiftWindowMSA.window_reverse is theirs
    assert found.shape == (batch, height, width, 5)
    assert torch.equal(found, theirs(windows, height, width, size))
    # The second row of windows begins after the first.
    assert torch.equal(found[0, size, 0], windows[width // size, 0, 0])
