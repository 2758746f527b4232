"""``tools/model_zoo.py`` as a program."""

import io
import subprocess
import sys

import pytest
import torch


@pytest.fixture
def run(checkout):

    def run(*args):
        return subprocess.run(
            [sys.executable, 'tools/model_zoo.py', *map(str, args)],
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=30,
        )

    return run


@pytest.fixture
def content():
    stream = io.BytesIO()
    torch.save(dict(state_dict={'weight': torch.ones(6)}, meta={'by': '\x1b[2J'}), stream)
    return stream.getvalue()


def check_fails(done, *words):
    assert done.returncode == 1
    assert done.stdout == ''
    assert done.stderr.startswith('error: ')
    assert done.stderr.count('\n') == 1
    for word in words:
        assert word in done.stderr


def test_list(run, zoo):
    zoo.add(
        'net',
        Weights='net-01234567.pth',
        Metadata=dict(Parameters=11220132, FLOPs=5.6e8),
        Results=dict(Dataset='CIFAR-100', Metrics={'Top 1 Accuracy': 80.6612}),
    )
    zoo.add('planned')
    (zoo.root / 'net-01234567.pth').write_bytes(b'x' * 2500)
    done = run('list')
    assert done.returncode == 0
    header, net, planned = [line.split('  ') for line in done.stdout.splitlines()]
    assert [cell.strip() for cell in header if cell] == [
        'name',
        'dataset',
        'top-1',
        'params',
        'FLOPs',
        'size',
        'where',
    ]
    assert [cell.strip() for cell in net if cell] == [
        'net',
        'CIFAR-100',
        '80.66',
        '11.22 M',
        '560.00 M',
        '2.50 kB',
        'net-01234567.pth (in the package)',
    ]
    assert [cell.strip() for cell in planned if cell] == [
        'planned',
        '-',
        '-',
        '-',
        '-',
        '-',
        'no weights published',
    ]


def test_download_and_verify(run, zoo, server, content, tmp_path):
    name = zoo.publish('net', content, server)
    done = run('download', 'net', '--dest', tmp_path / 'dest', '--quiet')
    file = tmp_path / 'dest' / name
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout == f'{file}\n'
    assert file.read_bytes() == content
    done = run('verify', file)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert f'size        {len(content)} bytes' in lines
    assert lines[2].startswith(f'sha256      {name[-12:-4]}')
    assert lines[2].endswith(' (as in the name)')
    assert 'tensors     1' in lines
    assert 'parameters  6' in lines
    assert lines[-1] == r"meta        'by': '\x1b[2J'"


def test_errors_are_one_line(run, zoo, server, content, tmp_path):
    name = zoo.publish('net', content, server)
    dest = tmp_path / 'dest'
    check_fails(run('download', 'nett'), "no model 'nett'", 'did you mean net')
    check_fails(
        run('download', 'net', '--dest', dest, '--mirror', 'file:///nowhere'),
        f'file:///nowhere/{name}',
        '--mirror BASE',
    )
    assert list(dest.iterdir()) == []
    torch.save(torch.nn.Linear(1, 1), tmp_path / 'code.pth')
    check_fails(run('verify', tmp_path / 'code.pth'), 'it carries')


def test_help(run):
    done = run('--help')
    assert done.returncode == 0
    for word in ('list', 'download', 'verify', 'MMRAZOR_BYOT_HOME'):
        assert word in done.stdout
    assert '--mirror BASE' in run('download', '--help').stdout
