"""What a wheel and a source archive carry."""

import shutil
import sys
import tarfile
import zipfile

import pytest
from run import ROOT, run, succeeded

PARTS = (
    'configs',
    'mmrazor_byot',
    'projects',
    'requirements',
    'tools',
    'LICENSE',
    'MANIFEST.in',
    'README.md',
    'model-index.yml',
    'setup.cfg',
    'setup.py',
)
CARRIED = (
    'model-index.yml',
    'configs/distill/mmcls/byot/metafile.yml',
    'configs/distill/mmcls/byot/byot_resnet18_2xb64_digits.py',
    'configs/_base_/default_runtime.py',
    'tools/train.py',
    'tools/dist_train.sh',
)


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """Names in the wheel and in the source archive of a clean copy."""
    copy = tmp_path_factory.mktemp('copy')
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(
                ROOT / part, copy / part, ignore=shutil.ignore_patterns('__pycache__', '.mim')
            )
        else:
            shutil.copy(ROOT / part, copy / part)
    succeeded(
        run(sys.executable, 'setup.py', '-q', 'sdist', 'bdist_wheel', cwd=copy, PYTHONPATH='')
    )
    (wheel,) = (copy / 'dist').glob('*.whl')
    (archive,) = (copy / 'dist').glob('*.tar.gz')
    with zipfile.ZipFile(wheel) as z, tarfile.open(archive) as t:
        return z.namelist(), [n.split('/', 1)[-1] for n in t.getnames()]


@pytest.mark.parametrize('name', CARRIED)
def test_wheel_and_archive_carry(built, name):
    wheel, archive = built
    assert f'mmrazor_byot/.mim/{name}' in wheel
    assert name in archive


def test_the_shipped_weights_are_carried(built):
    weights = [p.relative_to(ROOT).as_posix() for p in (ROOT / 'configs').rglob('*.pth')]
    assert len(weights) == 1
    assert f'mmrazor_byot/.mim/{weights[0]}' in built[0]
    assert weights[0] in built[1]


def test_no_tests_projects_or_caches_are_installed(built):
    wheel, _ = built
    assert not [n for n in wheel if n.startswith('tests') or 'projects/' in n or '.pyc' in n]
    modules = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / 'mmrazor_byot').rglob('*.py')
        if '.mim' not in p.parts
    }
    assert modules <= set(wheel)
