"""A checkpoint is weights, and what its name says."""

import hashlib
import pickle

import pytest
import torch
from torch import nn

from mmrazor_byot.zoo import ZooError, load_weights, verify


@pytest.fixture
def saved(tmp_path):
    """Save a checkpoint under a name with its hash."""

    def save(content, **kwargs):
        path = tmp_path / 'net.pth'
        torch.save(content, path, **kwargs)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return path.rename(tmp_path / f'net-{digest[:8]}.pth')

    return save


def test_reports_what_is_in_the_file(saved):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    file = saved(dict(state_dict=net.state_dict(), meta=dict(epoch=3), optimizer=dict(state={})))
    found = verify(str(file))
    assert found.path == file
    assert found.size == file.stat().st_size
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found.promised == found.sha256[:8]
    assert found.tensors == 7
    assert found.parameters == 3 * 4 * 9 + 4 + 4 + 4
    assert found.meta == dict(epoch=3)
    assert found.others == ['optimizer']


def test_bare_state_dict(saved):
    found = verify(saved({'weight': torch.ones(2, 5)}))
    assert (found.tensors, found.parameters) == (1, 10)
    assert (found.meta, found.others) == ({}, [])


def test_name_without_hash_compares_nothing(tmp_path):
    torch.save({'weight': torch.ones(3)}, tmp_path / 'epoch_1.pth')
    found = verify(tmp_path / 'epoch_1.pth')
    assert found.promised is None
    assert found.parameters == 3


def test_content_must_fit_the_name(saved):
    file = saved({'weight': torch.ones(3)})
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    promised = file.stem[-8:]
    with pytest.raises(ZooError, match=f'damaged or renamed.*says {promised}'):
        verify(file)


@pytest.mark.parametrize('zipped', [True, False])
def test_code_is_refused(saved, malicious, marker, zipped):
    file = saved(
        dict(state_dict={'weight': torch.ones(1)}, meta=malicious),
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(ZooError, match='carries "posix.mkdir", which'):
        verify(file)
    assert not marker.exists()
    # The pickle is not harmless by mistake: elsewhere its code does run.
    torch.load(file, weights_only=False)
    assert marker.is_dir()


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_bare_pickle_is_refused(tmp_path, malicious, marker, protocol):
    file = tmp_path / 'net.pth'
    file.write_bytes(pickle.dumps(malicious, protocol))
    with pytest.raises(ZooError, match=r'net.pth" (was |\(\d+ bytes\) is)'):
        verify(file)
    assert not marker.exists()


def test_whole_module_is_refused(saved):
    with pytest.raises(ZooError, match='torch.nn.modules.linear.Linear'):
        verify(saved(nn.Linear(2, 2)))


@pytest.mark.parametrize(
    'content',
    [
        torch.ones(2),
        {},
        dict(state_dict={}),
        dict(state_dict=[1]),
        dict(state_dict={'weight': 1.0}),
    ],
)
def test_no_state_dict(saved, content):
    with pytest.raises(ZooError, match='state dict'):
        verify(saved(content))


def test_no_checkpoint(tmp_path, saved):
    whole = saved({'weight': torch.ones(100)}).read_bytes()
    file = tmp_path / 'some.pth'
    for content, message in [
        (b'', 'some.pth.* is truncated or not a'),
        (whole[: len(whole) // 2], 'not a checkpoint'),
        (b'<html>login</html>', 'not a checkpoint'),
    ]:
        file.write_bytes(content)
        with pytest.raises(ZooError, match=message) as caught:
            verify(file)
        assert '\n' not in str(caught.value)
    for path in (tmp_path / 'none.pth', tmp_path):
        with pytest.raises(ZooError, match='can not read'):
            verify(path)


def test_loads_the_same_values(saved):
    weight = torch.randn(4, 4)
    assert torch.equal(load_weights(saved({'weight': weight}))['weight'], weight)
