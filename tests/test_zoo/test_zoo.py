"""Downloads, checkpoints, ``zoo://NAME`` and the tool, on a zoo in a folder."""

import errno
import hashlib
import io
import os
import runpy
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import yaml
from mmengine.runner import load_checkpoint
from run import ROOT, script, succeeded
from torch import nn

from mmrazor_byot import download as download_module
from mmrazor_byot import zoo as zoo_module
from mmrazor_byot.command import run_command
from mmrazor_byot.errors import ByotError, CheckpointError, ZooError
from mmrazor_byot.zoo import cached_file, download, find_model, verify

GOOD = bytes(range(256)) * 800


class Zoo:
    """A zoo in a folder that tests add models to."""

    def __init__(self, root):
        self.root, self.models = root, []
        root.mkdir()
        (root / 'model-index.yml').write_text('Import: [metafile.yml]')

    def add(self, name, **entry):
        self.models.append(dict(Name=name, **entry))
        (self.root / 'metafile.yml').write_text(yaml.safe_dump(dict(Models=self.models)))

    def publish(self, name, content, server):
        """Add a model whose checkpoint ``server`` has, return its file's name."""
        file_name = f'{name}-{hashlib.sha256(content).hexdigest()[:8]}.pth'
        server.files[f'/v1/{file_name}'] = content
        self.add(name, Weights=f'{server.url}/v1/{file_name}')
        return file_name


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """The zoo that the package sees, with a cache folder of its own."""
    made = Zoo(tmp_path / 'root')
    monkeypatch.setattr(zoo_module, 'find_root', lambda: made.root)
    monkeypatch.setenv('MMRAZOR_BYOT_HOME', str(tmp_path / 'cache'))
    monkeypatch.delenv('MMRAZOR_BYOT_MIRROR', raising=False)
    return made


def saved(content):
    """The bytes of a checkpoint."""
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.fixture
def dest(tmp_path):
    return tmp_path / 'dest'


@pytest.fixture
def name(zoo, server):
    """The file of the model "net", which the server has."""
    return zoo.publish('net', GOOD, server)


def names_in(folder):
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def check_refused(dest, *words, base=None):
    """It fails in one line with these words, and leaves all as it was."""
    before = names_in(dest)
    with pytest.raises(ZooError) as caught:
        download('net', dest, base)
    message = str(caught.value)
    assert '\n' not in message and [word for word in words if word not in message] == []
    assert names_in(dest) == before


def test_unknown_name(zoo):
    zoo.add('net_a')
    zoo.add('other')
    with pytest.raises(ZooError, match="no model 'net_aa': did you mean net_a[?]"):
        find_model('net_aa')


def test_file_arrives_whole_and_is_not_fetched_again(server, name, dest, capsys):
    for shown in (False, True):
        assert download('net', dest / 'new', progress=shown).read_bytes() == GOOD
        assert capsys.readouterr() == ('', '')
    assert names_in(dest / 'new') == [name]
    assert server.asked == [f'/v1/{name}']
    download('net', dest)
    out, err = capsys.readouterr()
    assert out == '' and '100%' in err


def test_default_folder(name, tmp_path, monkeypatch):
    assert download('net') == tmp_path / 'cache' / name
    monkeypatch.delenv('MMRAZOR_BYOT_HOME')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    assert str(cached_file(find_model('net'))) == f'{torch.hub.get_dir()}/mmrazor_byot/{name}'


def test_damaged_content_never_gets_the_name(server, name, dest):
    server.files[f'/v1/{name}'] = GOOD[:-1] + b'!'
    check_refused(dest, f'{server.url}/v1/{name} is damaged', name[-12:-4])
    dest.mkdir()
    (dest / name).write_bytes(b'old and bad')
    check_refused(dest, 'is damaged')
    assert (dest / name).read_bytes() == b'old and bad'
    server.files[f'/v1/{name}'] = GOOD
    assert download('net', dest).read_bytes() == GOOD
    assert names_in(dest) == [name]


def test_line_that_breaks_off_or_stays_silent(server, name, dest, monkeypatch):
    server.cut = 70_000
    check_refused(dest, 'is damaged or truncated')
    monkeypatch.setattr(download_module, 'TIMEOUT_S', 0.2)
    server.silent = True
    check_refused(dest, 'cannot fetch', 'timed out')


def test_mirror_has_the_file_under_its_name(server, name, dest, tmp_path, monkeypatch):
    mirror = tmp_path / 'a mirror'
    mirror.mkdir()
    (mirror / name).write_bytes(GOOD)
    server.files = {f'/m/{name}': GOOD}
    for number, base in enumerate((mirror, mirror.as_uri(), f'{server.url}/m/')):
        assert download('net', dest / str(number), base).read_bytes() == GOOD
    monkeypatch.setenv('MMRAZOR_BYOT_MIRROR', mirror.as_uri())
    assert download('net', dest).read_bytes() == GOOD
    assert server.asked == [f'/m/{name}']


@pytest.mark.parametrize('base', ['/nowhere', 'http://a:b', 'no such://a'])
def test_mirror_that_is_none(name, dest, base):
    check_refused(dest, 'cannot fetch', f'{base}/{name}', '--mirror BASE', base=base)


def test_offline(server, name, dest):
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))  # bound, but it does not listen
        base = f'http://127.0.0.1:{unused.getsockname()[1]}'
        check_refused(dest, f'cannot fetch {base}/{name}', 'Connection refused', base=base)
    server.files.clear()
    check_refused(dest, f'cannot fetch {server.url}/v1/{name}', 'HTTP Error 404: Not Found')


def test_shipped_file_is_taken_from_the_project(zoo, server, dest):
    name = zoo.publish('other', GOOD, server)
    zoo.add('net', Weights=f'some net/{name}')
    check_refused(dest, 'cannot fetch file:///', f'some%20net/{name}')
    (zoo.root / 'some net').mkdir()
    (zoo.root / 'some net' / name).write_bytes(GOOD)
    assert download('net', dest, server.url).read_bytes() == GOOD
    assert server.asked == []


@pytest.mark.parametrize('end', ['', '-0251084', '-0251084g'])
def test_name_without_a_hash(zoo, dest, end):
    zoo.add('net', Weights=f'https://a.invalid/net{end}.pth')
    check_refused(dest, f'net{end}.pth cannot be checked')


def test_no_weights(zoo, dest):
    zoo.add('net', Config='configs/planned.py')
    check_refused(dest, 'train them with configs/planned.py')


def test_folder_that_cannot_be_written(server, name, dest, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    with pytest.raises(ZooError, match='cannot write .*is not a folder.*--dest DIR'):
        download('net', tmp_path / 'file')
    (dest / name).mkdir(parents=True)
    check_refused(dest, 'cannot write', 'it is a folder')
    assert server.asked == names_in(dest / name) == []

    def fill_the_disk(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download_module, 'open', fill_the_disk, raising=False)
    check_refused(dest / 'other', f'cannot write "{dest}/other/{name}": No space left')


def test_two_at_once_end_well(name, dest):
    with ThreadPoolExecutor(2) as threads:
        found = threads.map(lambda _: download('net', dest, progress=False), range(2))
    assert [file.read_bytes() for file in found] == [GOOD] * 2
    assert names_in(dest) == [name]


@pytest.fixture
def file(tmp_path):
    """Saves a checkpoint under a name with its hash."""

    def save(content):
        path = tmp_path / f'net-{hashlib.sha256(saved(content)).hexdigest()[:8]}.pth'
        path.write_bytes(saved(content))
        return path

    return save


def test_reports_what_is_in_the_file(file):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    path = file(dict(state_dict=net.state_dict(), meta=dict(epoch=3), optimizer=dict(state={})))
    found = verify(str(path))
    assert (found.path, found.size) == (path, path.stat().st_size)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.expected_sha256 == found.sha256[:8]
    assert (found.tensors, found.parameters) == (7, 3 * 4 * 9 + 4 + 4 + 4)
    assert (found.meta, found.others) == (dict(epoch=3), ['optimizer'])


def test_bare_state_dict_without_a_hash(file, tmp_path):
    found = verify(file({'weight': torch.ones(2, 5)}).rename(tmp_path / 'epoch_1.pth'))
    assert (found.tensors, found.parameters, found.expected_sha256) == (1, 10, '')
    assert (found.meta, found.others) == ({}, [])


def test_content_must_fit_the_name(file, tmp_path):
    path = file({'weight': torch.ones(3)})
    path.write_bytes(path.read_bytes()[:-1] + b'!')
    with pytest.raises(CheckpointError, match='damaged or renamed: its sha256 is'):
        verify(path)
    for none in (tmp_path / 'none.pth', tmp_path):
        with pytest.raises(CheckpointError, match=f'{none}" does not exist'):
            verify(none)


@pytest.mark.parametrize(
    'content',
    [torch.ones(2), {}, {'state_dict': {}}, {'state_dict': [1]}, {'a': 1.0}, nn.Linear(1, 1)],
)
def test_no_state_dict_or_code(file, content):
    with pytest.raises(
        ByotError,
        match='no state dict|is a list, not a dict|holds a Tensor|carries "torch.nn.modules.linear',
    ):
        verify(file(content))


def test_load_checkpoint(zoo, server, tmp_path):
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    content = saved(dict(state_dict=source.state_dict(), meta=dict(epoch=5)))
    file = tmp_path / 'cache' / zoo.publish('net', content, server)
    assert load_checkpoint(target, 'zoo://net', map_location='cpu')['meta'] == dict(epoch=5)
    assert torch.equal(target.weight, source.weight)
    assert file.read_bytes() == content
    server.files.clear()
    load_checkpoint(target, 'zoo://net')  # it is in the cache
    file.write_bytes(saved(target.state_dict()))  # another file under that name
    with pytest.raises(ZooError, match='cannot fetch'):
        load_checkpoint(target, 'zoo://net')
    with pytest.raises(ZooError, match="no model 'ten'"):
        load_checkpoint(target, 'zoo://ten')
    zoo.publish('code', saved(dict(state_dict=nn.Linear(1, 1))), server)
    with pytest.raises(CheckpointError, match='carries "torch.nn.modules.linear.Linear"'):
        load_checkpoint(target, 'zoo://code')


RANKS = """
import os, sys
from pathlib import Path
import torch.distributed as dist
from mmengine.runner import CheckpointLoader
from mmrazor_byot import zoo
from mmrazor_byot.launch import leave_processes
zoo.find_root = lambda: Path(sys.argv[1])
dist.init_process_group('gloo')
told = Path(sys.argv[0]).with_suffix('.' + os.environ['RANK'])  # two would mix on one stdout
try:
    CheckpointLoader.load_checkpoint('zoo://gone')
except zoo.ZooError as error:
    told.write_text(f'{error}|')
with told.open('a') as file:
    file.write(str(CheckpointLoader.load_checkpoint('zoo://net')['weight'].tolist()))
leave_processes()
"""


def test_one_process_of_a_node_downloads(zoo, server, tmp_path):
    name = zoo.publish('net', saved({'weight': torch.tensor([1.0, 2.0])}), server)
    gone = zoo.publish('gone', b'gone', server)
    del server.files[f'/v1/{gone}']
    (tmp_path / 'ranks.py').write_text(RANKS)
    succeeded(script(tmp_path / 'ranks.py', zoo.root, ranks=2))
    for rank in '01':
        error, weight = (tmp_path / f'ranks.{rank}').read_text().split('|')
        assert error.startswith(f'cannot fetch {server.url}/v1/{gone} (HTTP Error 404')
        assert weight == '[1.0, 2.0]'
    assert server.asked == [f'/v1/{gone}', f'/v1/{name}']


@pytest.fixture
def model_zoo(capsys, monkeypatch):
    """Runs the tool; gives its status, output and errors."""
    main = runpy.run_path(str(ROOT / 'tools/model_zoo.py'))['main']

    def run(*args):
        monkeypatch.setattr('sys.argv', ['model_zoo.py', *map(str, args)])
        try:
            run_command(main)
        except SystemExit as e:
            return (e.code, *capsys.readouterr())
        return (0, *capsys.readouterr())

    return run


def lines(done):
    status, out, err = done
    assert (status, err) == (0, '')
    return out.splitlines()


def test_list(model_zoo, zoo):
    metadata = dict(Parameters=11220132, FLOPs=560000000)
    results = [dict(Dataset='CIFAR-100', Metrics={'Top 1 Accuracy': 80.6612})]
    zoo.add('net', Weights='net-01234567.pth', Metadata=metadata, Results=results)
    zoo.add('planned')
    (zoo.root / 'net-01234567.pth').write_bytes(b'x' * 2500)
    where = 'net-01234567.pth (in the package)'
    rows = [[cell.strip() for cell in row.split('  ') if cell] for row in lines(model_zoo('list'))]
    assert rows == [
        ['name', 'dataset', 'top-1', 'params', 'FLOPs', 'size', 'where'],
        ['net', 'CIFAR-100', '80.66', '11.22 M', '560.00 M', '2.50 kB', where],
        ['planned', '-', '-', '-', '-', '-', 'no weights published'],
    ]


def test_download_and_verify(model_zoo, zoo, server, tmp_path):
    content = saved(dict(state_dict={'weight': torch.ones(6)}, meta={'by': '\x1b[2J'}))
    name = zoo.publish('net', content, server)
    file = tmp_path / 'dest' / name
    assert lines(model_zoo('download', 'net', '--dest', file.parent, '--quiet')) == [str(file)]
    assert file.read_bytes() == content
    path, size, sha256, *rest = lines(model_zoo('verify', file))
    assert (path, size) == (f'file        {file}', f'size        {len(content)} bytes')
    assert sha256.startswith(f'sha256      {name[-12:-4]}') and sha256.endswith(' (as in the name)')
    assert rest == ['tensors     1', 'parameters  6', r"meta        'by': '\x1b[2J'"]


def test_errors_are_one_line(model_zoo, zoo, server, tmp_path):
    name = zoo.publish('net', b'', server)
    torch.save(torch.nn.Linear(1, 1), tmp_path / 'code.pth')
    nowhere = ('--dest', tmp_path / 'dest', '--mirror', 'file:///nowhere')
    for args, message in [
        (['download', 'nett'], "the zoo has no model 'nett': did you mean net?"),
        (['download', 'net', *nowhere], f'cannot fetch file:///nowhere/{name}'),
        (['verify', tmp_path / 'code.pth'], f'checkpoint "{tmp_path}/code.pth" was not loaded'),
    ]:
        status, out, err = model_zoo(*args)
        assert (status, out, err.count('\n')) == (1, '', 1)
        assert err.startswith(f'error: {message}')
