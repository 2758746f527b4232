"""An index that is damaged, and addresses that cannot be."""

import pytest
import yaml

from mmrazor_byot import zoo
from mmrazor_byot.errors import ZooError

ENTRY = dict(Name='net', Config='a.py', Weights='http://h/net-01234567.pth')


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Writes the one entry of a zoo."""
    monkeypatch.setattr(zoo, 'find_root', lambda: tmp_path)
    (tmp_path / 'model-index.yml').write_text('Import: [meta.yml]')

    def write(**changes):
        (tmp_path / 'meta.yml').write_text(yaml.safe_dump(dict(Models=[{**ENTRY, **changes}])))

    return write


@pytest.mark.parametrize(
    'changes, reason',
    [
        (dict(Name=3), 'name is 3'),
        (dict(Name=None), 'name is None'),
        (dict(Weights=['x']), "weights is ['x']"),
        (dict(Weights='http://[::1/x'), 'Invalid IPv6 URL'),
        (dict(Metadata=dict(Parameters='x')), "params is 'x'"),
        (dict(Metadata=7), 'AttributeError'),
        (dict(Results=[dict(Metrics={'Top 1 Accuracy': 'x'})]), "top1 is 'x'"),
        (dict(Results=7), 'TypeError'),
    ],
)
def test_entry(index, tmp_path, changes, reason):
    index(**changes)
    with pytest.raises(ZooError) as caught:
        zoo.list_models()
    line = str(caught.value)
    assert line.startswith(f'{tmp_path}/meta.yml: model 1 is not described well') and reason in line


@pytest.mark.parametrize('text', ['', 'a: [', 'Import: 3', 'Import: [x]', '[1]', '\0'])
def test_index(index, tmp_path, text):
    (tmp_path / 'model-index.yml').write_text(text)
    with pytest.raises(ZooError, match='missing or damaged|a list is needed'):
        zoo.list_models()


@pytest.mark.parametrize(
    'dest, mirror',
    [
        (None, 'http://[::1'),
        ('a\0b', None),
        ('a' * 300, None),
        ('file', None),
        (None, 'nosuch:/x'),
        (None, '~nouser'),
    ],
)
def test_addresses(index, tmp_path, monkeypatch, dest, mirror):
    index(Weights='http://127.0.0.1:1/net-01234567.pth')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_text('')
    with pytest.raises(ZooError, match='dest|mirror'):
        zoo.download('net', dest, mirror, progress=False)
    assert not list(tmp_path.rglob('*.tmp'))
