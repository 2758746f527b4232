"""What a wheel and a source archive carry."""

import sys
import tarfile
import zipfile

import pytest
from run import ROOT, run, succeeded

CARRIED = (
    'model-index.yml',
    'configs/distill/mmcls/byot/metafile.yml',
    'configs/distill/mmcls/byot/byot_resnet18_2xb64_digits.py',
    'configs/_base_/default_runtime.py',
    'tools/train.py',
    'tools/dist_train.sh',
)


INHERIT = """
import mmrazor_byot
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS, init_default_scope
found = Config.fromfile('mine.py')
recipe = get_config('mmrazor_byot::distill/mmcls/byot/byot_resnet18_2xb64_digits.py')
recipe.model.input_size = 64
assert found.to_dict() == recipe.to_dict()
init_default_scope('mmpretrain')
print(mmrazor_byot.__file__, MODELS.build(found.model).num_exits)
"""


@pytest.fixture
def archives(distributions):
    """The wheel and the source archive of a clean copy."""
    return next(distributions.glob('*.whl')), next(distributions.glob('*.tar.gz'))


def test_they_carry_configs_tools_and_weights_but_no_tests(archives):
    with zipfile.ZipFile(archives[0]) as z, tarfile.open(archives[1]) as t:
        wheel, archive = z.namelist(), [n.split('/', 1)[-1] for n in t.getnames()]
    weights = [p.relative_to(ROOT).as_posix() for p in (ROOT / 'configs').rglob('*.pth')]
    assert len(weights) == 1
    for name in (*CARRIED, *weights):
        assert f'mmrazor_byot/.mim/{name}' in wheel
        assert name in archive
    assert not [n for n in wheel if n.startswith('tests') or 'projects/' in n or '.pyc' in n]
    modules = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / 'mmrazor_byot').rglob('*.py')
        if '.mim' not in p.parts
    }
    assert modules <= set(wheel)


def test_configs_inherit_from_an_installed_wheel(archives, tmp_path):
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'mmrazor_byot::distill/mmcls/byot/byot_resnet18_2xb64_digits.py'\n"
        'model = dict(input_size=64)\n'
    )
    site = tmp_path / 'site'
    pip = sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index'
    succeeded(run(*pip, '--target', site, archives[0]))
    done = run(sys.executable, '-c', INHERIT, cwd=tmp_path, PYTHONPATH=str(site))
    assert succeeded(done).strip().endswith(f'{site}/mmrazor_byot/__init__.py 4')
