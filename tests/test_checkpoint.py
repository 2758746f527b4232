"""Checkpoints are read safely and written whole."""

import os
import pickle
import re
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from malicious import Call, malicious, put_pickle
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import OneCycleLR
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import nn

from mmrazor_byot import checkpoint as ours
from mmrazor_byot.errors import CheckpointError, ConfigError


def load(path):
    return mmengine_checkpoint.CheckpointLoader.load_checkpoint(str(path))


def refused(path, *words):
    """One line says why this file cannot be loaded."""
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert '\n' not in message
    assert [w for w in [str(path), *words] if w not in message] == []


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'epoch_2.pth'


@pytest.fixture
def checkpoint():
    """What MMEngine's Runner saves, after two steps of a tiny model."""
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    hub = MessageHub('test_checkpoint')
    for loss in (2.0, 4.0, 9.0):
        hub.update_scalar('train/loss', loss)
    scalars = [np.float64(0.5), np.float32(0.1), np.int64(3), np.bool_(True)]
    return dict(
        meta=dict(epoch=2, iter=3, seed=7),
        state_dict=model.state_dict(),
        message_hub=hub.state_dict(),
        optimizer=optimizer.state_dict(),
        param_schedulers=scalars,
    )


def check(loaded, saved):
    """All numbers are those that were saved."""
    assert loaded['meta'] == dict(epoch=2, iter=3, seed=7)
    assert loaded['state_dict']['weight'].equal(saved['state_dict']['weight'])
    # The gradient is 1, so the momentum is 1 and then 0.9 * 1 + 1.
    momentum = loaded['optimizer']['state'][0]['momentum_buffer']
    assert momentum.tolist() == [[pytest.approx(1.9)] * 2]
    check_history(loaded, saved)


def check_history(loaded, saved):
    history = loaded['message_hub']['log_scalars']['train/loss']
    assert [x.tolist() for x in history.data] == [[2, 4, 9], [1, 1, 1]]
    assert history.mean() == 5 and history.mean(2) == 6.5
    assert history.statistics('max') == 9 and history.current() == 9
    assert loaded['param_schedulers'] == saved['param_schedulers']
    assert loaded['param_schedulers'][1].dtype == np.float32


@pytest.mark.parametrize('zipped', [True, False])
def test_mmengine_loads_its_own(path, checkpoint, zipped):
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    model = nn.Linear(2, 1)
    load_into = mmengine_checkpoint.load_checkpoint
    check(load_into(model, str(path), 'cpu'), checkpoint)
    check(torch.load(path, weights_only=True), checkpoint)
    assert torch.equal(model.weight, checkpoint['state_dict']['weight'])


@pytest.mark.parametrize('code', sorted(set(np.typecodes['All']) - set('OSUV')))
def test_numpy_scalars(path, code):
    value = np.ones(1, code)[0]
    torch.save(dict(state_dict={}, meta=dict(note=value)), path)
    note = load(path)['meta']['note']
    assert note == value and note.dtype == value.dtype


@pytest.mark.parametrize(
    'value, named',
    [
        (np.array([1, 'a'], dtype=object), 'numpy.dtypes.ObjectDType'),
        (np.zeros(1, [('a', 'f4')])[0], 'numpy.dtypes.VoidDType'),
        (np.str_('a'), 'numpy.dtypes.StrDType'),
        (np.bytes_(b'a'), 'numpy.dtypes.BytesDType'),
        (np.ma.array([1]), 'numpy.ma.core._mareconstruct'),
        (Path('a'), 'pathlib.'),
    ],
)
def test_what_is_carried_is_named(path, value, named):
    torch.save(dict(state_dict={}, meta=dict(note=value)), path)
    refused(path, f'it carries "{named}')


def test_whole_files_are_not_called_truncated(path):
    torch.save(dict(state_dict={}), path, pickle_protocol=4)
    refused(path, 'is whole, but cannot be read', 'torch.save with its default settings')


@pytest.mark.parametrize('package', [b'numpy.core', b'numpy._core'])
def test_names_of_numpy_1_and_2(path, checkpoint, package):
    del checkpoint['state_dict'], checkpoint['optimizer']
    torch.save(checkpoint, path)
    with zipfile.ZipFile(path) as f:
        (name,) = (n for n in f.namelist() if n.endswith('data.pkl'))
        pickled = f.read(name)
    names = rb'numpy\._?core(?=\.multiarray\n)'
    assert len(re.findall(names, pickled)) == 2  # _reconstruct and scalar
    put_pickle(path, re.sub(names, package, pickled))
    check_history(load(path), checkpoint)


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize(
    'kind, named',
    [
        ('function', 'mkdir'),
        ('eval', 'eval'),
        ('getattr on os', 'shutil.os'),
        ('globals of a method', 'getattr'),
    ],
)
def test_code_is_refused(path, kind, named, zipped):
    marker = path.parent / 'marker'
    put_pickle(path, malicious(kind, str(marker)), zipped)
    refused(path, 'was not loaded: it carries "', named)
    assert not marker.exists()


@pytest.mark.parametrize('kind', ['function', 'eval', 'getattr on os'])
def test_the_malicious_pickles_are_malicious(tmp_path, kind):
    pickle.loads(malicious(kind, str(tmp_path / 'marker')))
    assert (tmp_path / 'marker').is_dir()


def test_arrays_of_made_up_pointers_are_refused(path):
    """An object array over raw bytes is a way to run code."""
    call = Call(np.ndarray, (1,), 'O', b'\0' * 8)
    put_pickle(path, pickle.dumps(dict(state_dict=call), protocol=2))
    refused(path)


@pytest.mark.parametrize(
    'owner, name',
    [
        (HistoryBuffer, 'update'),
        (HistoryBuffer(), 'mean'),
        (os, 'mean'),
        (ours._ONE_CYCLE, 'step'),
    ],
)
def test_getattr_finds_nothing_else(owner, name):
    with pytest.raises(pickle.UnpicklingError, match='getattr'):
        ours._known_method(owner, name)


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('step', [1, 7, 101, 499])
def test_truncated(path, checkpoint, zipped, step):
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for size in [0, step, len(whole) // 2 + step, len(whole) - step]:
        path.write_bytes(whole[:size])
        # The old format can end in the middle of a name, which then is one that is not allowed.
        words = [f'({size} bytes) is truncated or not a checkpoint']
        refused(path, *(words if zipped else []))


@pytest.mark.parametrize('text', ['<!DOCTYPE html>', '{"a": 1}', '(see the other folder)', 'M'])
def test_text_is_not_a_checkpoint(path, text):
    path.write_text(text)
    refused(path, 'is truncated or not a checkpoint')


@pytest.mark.parametrize('answer', [torch.ones(2), [1, 2]])
def test_no_dict(path, answer):
    torch.save(answer, path)
    refused(path, f'holds a {type(answer).__name__}, not a checkpoint')


def test_missing(path, monkeypatch):
    refused(path, 'does not exist')
    torch.save({}, path)
    monkeypatch.setenv('HOME', str(path.parent))
    assert load(f'~/{path.name}') == {}


@pytest.mark.parametrize('before', [{}, {'a.pth': b'old'}])
@pytest.mark.parametrize('fails', [False, True])
def test_put_replaces_all_or_nothing(tmp_path, monkeypatch, before, fails):
    def fill_disk(self, data):
        self.touch()
        raise OSError(28, 'No space left on device')

    for name, data in before.items():
        (tmp_path / name).write_bytes(data)
    backend = ours.AtomicBackend()
    if fails:
        monkeypatch.setattr(Path, 'write_bytes', fill_disk)
        with pytest.raises(ConfigError, match='a.pth": No space left'):
            backend.put(b'new', tmp_path / 'a.pth')
    else:
        backend.put(b'new', str(tmp_path / 'a.pth'))
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert files == (before if fails else {'a.pth': b'new'})


def test_save_checkpoint_with_atomic_backend(tmp_path, checkpoint):
    path = str(tmp_path / 'a.pth')
    save = mmengine_checkpoint.save_checkpoint
    save(checkpoint, path, backend_args=dict(backend='atomic'))
    check(load(path), checkpoint)
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


def test_milestones_of_a_scheduler(path):
    schedulers = [dict(milestones=Counter([83, 166, 240]), gamma=0.1)]
    torch.save(dict(state_dict={}, param_schedulers=schedulers), path)
    assert load(path)['param_schedulers'] == schedulers


@pytest.mark.parametrize('kind', ['cos', 'linear'])
def test_annealing_of_one_cycle(path, kind):
    weight = torch.nn.Parameter(torch.zeros(1))
    schedulers = [
        OneCycleLR(
            torch.optim.SGD([weight], lr=0.1), eta_max=0.2, total_steps=10, anneal_strategy=kind
        )
        for _ in range(2)
    ]
    schedulers[0].step()
    torch.save(dict(state_dict={}, param_schedulers=[schedulers[0].state_dict()]), path)
    schedulers[1].load_state_dict(load(path)['param_schedulers'][0])
    for scheduler in schedulers:
        scheduler.step()
    assert schedulers[0].get_last_value() == schedulers[1].get_last_value()
