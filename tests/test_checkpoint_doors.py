"""Every way to name a checkpoint goes through the one loader."""

import hashlib
import os
from pathlib import Path

import mmpretrain
import pytest
import torch
from malicious import malicious, put_pickle
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner import checkpoint as mmengine_checkpoint
from PIL import Image
from run import DIGITS, QUICK, failed, succeeded, tool
from short_runs import EMA, config, train
from torch import nn

from mmrazor_byot import download as download_module
from mmrazor_byot.apis import ByotInferencer, get_model
from mmrazor_byot.download import hash_in_name
from mmrazor_byot.errors import CheckpointError, ConfigError
from mmrazor_byot.export.publish import publish
from mmrazor_byot.registry import MODELS

NAMES = ['torchvision', 'modelzoo', 'openmmlab', 'open-mmlab', 'mmcls']
TABLES = ['get_torchvision_models', 'get_external_models', 'get_mmcls_models']


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of downloads."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path / 'mmengine'))
    return tmp_path / 'torch/hub/checkpoints'


@pytest.fixture
def serve(server, tmp_path, monkeypatch):
    """Serves a file under the URL that it returns, and under ``torchvision://net`` and so on."""

    def add(content, name='net.pth'):
        path = tmp_path / 'served.pth'
        if not isinstance(content, bytes):
            torch.save(content, path)
            content = path.read_bytes()
        server.files[f'/v1/{name}'] = content
        url = f'{server.url}/v1/{name}'
        for table in TABLES:
            monkeypatch.setattr(mmengine_checkpoint, table, lambda: dict(net=url))
        return url

    return add


@pytest.fixture
def marker(tmp_path):
    """What code in a checkpoint would make; no test may leave it."""
    yield tmp_path / 'marker'
    assert not (tmp_path / 'marker').exists()


@pytest.fixture
def code(tmp_path, marker, serve):
    """The URL of a checkpoint that carries code."""
    path = tmp_path / 'code.pth'
    put_pickle(path, malicious('function', str(marker)))
    return serve(path.read_bytes())


def refused(call, *words):
    with pytest.raises(CheckpointError) as caught:
        call()
    message = str(caught.value)
    assert [word for word in words if word not in message] == [] and '\n' not in message


def load(address):
    return CheckpointLoader.load_checkpoint(str(address), map_location='cpu')


@pytest.mark.parametrize('scheme', ['', 'file', 'http', 'HTTP', *NAMES])
def test_no_code_runs_from_any_address(code, tmp_path, cache, scheme):
    path = tmp_path / 'code.pth'
    upper = code.replace('http', 'HTTP')
    addresses = {'': path, 'file': path.as_uri(), 'http': code, 'HTTP': upper}
    named = {'': path, 'file': path, 'HTTP': upper}.get(scheme, code)
    address = addresses.get(scheme, f'{scheme}://net')
    refused(lambda: load(address), f'{named}" was not loaded: it carries "posix.mkdir"')
    assert [p for p in cache.rglob('*') if p.is_file()] == []  # it did not get its name


class Module(BaseModule):
    """One layer."""

    def __init__(self, **settings):
        super().__init__(settings and dict(type='Pretrained', **settings))
        self.layer = nn.Linear(2, 3)


def teacher(checkpoint):
    """As MMRazor loads ``teacher_ckpt``."""
    part = dict(type='mmrazor_byot.TwoStages')
    return MODELS.build(
        dict(
            type='mmrazor.SingleTeacherDistill',
            architecture=dict(type='ImageClassifier', backbone=part),
            teacher=dict(type='ImageClassifier', backbone=part),
            teacher_ckpt=checkpoint,
            distiller=dict(type='mmrazor.ConfigurableDistiller'),
        )
    )


IN_PYTHON = {
    'init_cfg': lambda url, out: Module(checkpoint=url).init_weights(),
    'a part of init_cfg': lambda url, out: Module(checkpoint=url, prefix='a').init_weights(),
    'teacher_ckpt': lambda url, out: teacher(url),
    'mmpretrain': lambda url, out: mmpretrain.get_model('resnet18_8xb16_cifar10', url),
    'get_model': lambda url, out: get_model(DIGITS, url),
    'inferencer': lambda url, out: ByotInferencer(DIGITS, url),
    'publish': lambda url, out: publish(url, out, 'net'),
    'load_from': lambda url, out: Runner.from_cfg(config(out, load_from=url)).train(),
    'resume': lambda url, out: Runner.from_cfg(config(out, load_from=url, resume=True)).train(),
}


@pytest.mark.parametrize('door', IN_PYTHON)
def test_no_code_runs_in_python(code, tmp_path, door):
    refused(lambda: IN_PYTHON[door](code, tmp_path / 'out'), 'it carries "posix.mkdir"')


def test_no_code_runs_from_an_average(tmp_path, marker):
    """The file of a run with EMAHook, in which the average is a call."""
    path = tmp_path / 'a.pth'
    content = malicious('function', str(marker)).replace(b'state_dict', b'ema_state_dict')
    put_pickle(path, content.replace(b'X\n\0\0\0ema', b'X\x0e\0\0\0ema'))
    resumed = Runner.from_cfg(config(tmp_path, load_from=str(path), resume=True, hooks=[EMA]))
    refused(resumed.train, f'{path}" was not loaded: it carries "posix.mkdir"')


@pytest.mark.parametrize('name', ['test.py', 'train.py', 'infer.py'])
def test_no_code_runs_in_tools(code, tmp_path, name):
    image = tmp_path / 'image.png'
    Image.new('L', (8, 8)).save(image)
    words = {
        'test.py': [DIGITS, code, '--work-dir', tmp_path / 'work'],
        'train.py': [DIGITS, '--work-dir', tmp_path / 'work', '--cfg-options', f'load_from={code}'],
        'infer.py': [image, '--model', DIGITS, '--weights', code],
    }[name]
    done = tool(name, *words, *(QUICK if name == 'train.py' else []))
    assert f'{code}" was not loaded: it carries "posix.mkdir"' in failed(done)
    assert 'Traceback' not in done.stderr


def test_no_config_in_a_checkpoint_runs(tmp_path, marker):
    """MMEngine runs the text of ``meta.config`` when it resumes."""
    train(tmp_path, 1)
    path = tmp_path / 'epoch_1.pth'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['meta']['config'] = f'import os\nos.mkdir({str(marker)!r})'
    torch.save(checkpoint, path)
    resumed = Runner.from_cfg(config(tmp_path, 2, load_from=str(path), resume=True))
    resumed.train()
    assert resumed.epoch == 2


def test_runs_own_checkpoints_are_known_without_the_runner(tmp_path):
    """The tool of the zoo does not import it."""
    train(tmp_path, 1)
    out = succeeded(tool('model_zoo.py', 'verify', tmp_path / 'epoch_1.pth', fresh=True))
    assert "also holds  'optimizer'" in out
    program = tmp_path / 'program.py'
    program.write_text(
        'import sys\n'
        'from mmrazor_byot.checkpoint import load_from_local\n'
        'print(load_from_local(sys.argv[1])["meta"]["epoch"])\n'
    )
    assert succeeded(tool(program, tmp_path / 'epoch_1.pth', fresh=True)) == '1\n'


@pytest.mark.parametrize(
    'address, scheme',
    [
        ('s3://bucket/a.pth', 's3'),
        ('petrel://a/b.pth', 'petrel'),
        ('cluster:s3://bucket/a.pth', 's3'),
        ('open-mmlab:petrel://a.pth', 'petrel'),
        ('pavi://model', 'pavi'),
        ('PAVI://model', 'pavi'),
        ('ftp://a.org/a.pth', 'ftp'),
        ('data://a', 'data'),
    ],
)
def test_other_schemes_are_refused_by_name(address, scheme):
    refused(lambda: load(address), f'"{address}": {scheme}:// is not supported', 'give its path')


@pytest.mark.parametrize('scheme', ['http', *NAMES])
def test_weights_are_downloaded_once(serve, server, cache, scheme):
    state = {'backbone.weight': torch.ones(2)}
    url = serve(dict(state_dict=state))
    address = url if scheme == 'http' else f'{scheme}://net'
    for _ in range(2):
        ((key, value),) = load(address)['state_dict'].items()
        assert key == ('weight' if scheme == 'mmcls' else 'backbone.weight')
        assert value.tolist() == [1, 1]
    assert server.asked == ['/v1/net.pth']
    # Not where torch.hub would look, as another server may have a file of that name.
    (file,) = (p for p in cache.rglob('*') if p.is_file())
    assert file == cache / hashlib.sha256(url.encode()).hexdigest()[:16] / 'net.pth'


def test_processes_without_a_group_do_not_wait_for_each_other(serve, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert load(serve({'a': torch.ones(1)}))['a'] == 1


def test_two_servers_with_one_name(serve, server):
    serve({'a': torch.ones(1)})
    server.files['/v2/net.pth'] = server.files['/v1/net.pth']
    serve({'a': torch.zeros(1)})
    assert load(f'{server.url}/v1/net.pth')['a'] == 0
    assert load(f'{server.url}/v2/net.pth')['a'] == 1


@pytest.mark.parametrize('scheme', NAMES)
def test_names_that_mmengine_does_not_know(serve, scheme):
    serve({})
    refused(lambda: load(f'{scheme}://ten'), f'"{scheme}://ten": MMEngine knows no URL')


def test_names_of_torchvision():
    """MMEngine's table, without a download."""
    assert hash_in_name(mmengine_checkpoint.get_torchvision_models()['resnet18']) == 'f37072fd'
    refused(lambda: load('torchvision://resnet19'), '"torchvision://resnet19"')


@pytest.fixture
def hashed(tmp_path):
    """A checkpoint with its hash in the name."""
    torch.save({'a': torch.ones(1)}, tmp_path / 'a.pth')
    digest = hashlib.sha256((tmp_path / 'a.pth').read_bytes()).hexdigest()
    return (tmp_path / 'a.pth').rename(tmp_path / f'net-{digest[:8]}.pth')


def flip_a_bit(content):
    content = bytearray(content)
    content[content.index(b'\0\0\x80\x3f')] ^= 1  # the 1.0
    return bytes(content)


def test_a_hash_in_the_name_of_a_file(hashed):
    assert load(hashed)['a'] == 1
    hashed.write_bytes(flip_a_bit(hashed.read_bytes()))
    expected = hash_in_name(hashed.name)
    refused(lambda: load(hashed), f'{hashed}" is damaged or renamed', f'not {expected}...')
    renamed = hashed.rename(hashed.with_name('other.pth'))
    assert load(renamed)['a'] == pytest.approx(1)


def test_a_hash_in_the_name_of_a_url(hashed, serve, server, cache):
    good = hashed.read_bytes()
    url = serve(flip_a_bit(good), hashed.name)
    refused(lambda: load(url), f'{url} is damaged or truncated', hash_in_name(hashed.name))
    assert list(cache.rglob('*.*')) == []
    serve(good, f'{hashed.name}?download=true')
    assert load(f'{url}?download=true')['a'] == 1
    serve(good, hashed.name)
    cached = cache / hashed.name  # where torch.hub and MMEngine cache it
    cached.write_bytes(flip_a_bit(good))
    assert load(url)['a'] == 1 and cached.read_bytes() == good


@pytest.mark.parametrize(
    'name, digits',
    [
        ('resnet18-f37072fd.pth', 'f37072fd'),
        ('net_20210831-FBBB1DA6.pth', 'fbbb1da6'),
        (f'net-{"0a" * 32}.pt', '0a' * 32),
        ('net-31415926.pth', '31415926'),
        ('net-20261126.pth', ''),
        ('net-20261126094500.pth', ''),
        ('net-1795688735.pth', ''),
        ('net-00012000.pth', ''),
        ('net-abcdef1.pth', ''),
        ('net-0251084g.pth', ''),
        ('net-0251084e.pth.tmp', ''),
        ('net_0251084e.pth', ''),
    ],
)
def test_what_is_a_hash(name, digits):
    assert hash_in_name(name) == digits


def test_urls_that_cannot_be_loaded(serve, server, cache, monkeypatch):
    url = serve(b'<!DOCTYPE html> sign in')
    refused(lambda: load(url), f'{url}" (23 bytes) is truncated or not a checkpoint')
    missing = f'{server.url}/gone.pth'
    refused(lambda: load(missing), f'cannot fetch {missing} (HTTP Error 404: Not Found)')
    tls = url.replace('http', 'https')
    refused(lambda: load(tls), f'cannot fetch {tls} (', 'SSL')
    for no_name in (f'{server.url}/', f'{server.url}/..'):
        refused(lambda no_name=no_name: load(no_name), f'"{no_name}": the URL ends in no name')
    server.cut = 10
    refused(lambda: load(url), f'{url} is damaged or truncated: 10 of 23 bytes arrived')
    monkeypatch.setattr(download_module, 'TIMEOUT_S', 0.2)
    server.silent = True
    refused(lambda: load(url), f'cannot fetch {url} (timed out)')
    assert [p for p in cache.rglob('*') if p.is_file()] == []


def test_a_cache_that_cannot_be_written(serve, cache):
    url = serve({})
    cache.parent.mkdir(parents=True)
    cache.touch()
    with pytest.raises(ConfigError, match=f'"{cache}" is not a folder'):
        load(url)
    os.remove(cache)
    assert load(url) == {} and Path(cache).is_dir()


def test_safetensors_over_http(serve):
    safetensors = pytest.importorskip('safetensors.torch')
    weight = torch.arange(6.0).view(2, 3)
    data = safetensors.save(dict(weight=weight))
    url = serve(data, 'net.safetensors')
    assert torch.equal(load(url)['weight'], weight)
    refused(lambda: load(serve(data[:-8], 'cut.safetensors')), 'cut.safetensors', 'truncated')
