"""``zoo://NAME`` in MMEngine, on one process and on several."""

import io
import socket
import subprocess
import sys

import pytest
import torch
from mmengine.runner import load_checkpoint
from torch import nn

from mmrazor_byot.zoo import ZooError, scheme

assert scheme.PREFIX == 'zoo://'  # importing it is what registers it


def saved(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def test_load_checkpoint(zoo, server, tmp_path):
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    content = saved(dict(state_dict=source.state_dict(), meta=dict(epoch=5)))
    name = zoo.publish('net', content, server)
    for _ in range(2):
        target = nn.Linear(3, 2)
        checkpoint = load_checkpoint(target, 'zoo://net', map_location='cpu')
        assert checkpoint['meta'] == dict(epoch=5)
        assert torch.equal(target.weight, source.weight)
        assert torch.equal(target.bias, source.bias)
    assert server.sent == [len(content)]
    assert (tmp_path / 'cache' / name).read_bytes() == content


def test_errors_are_the_zoos(zoo):
    with pytest.raises(ZooError, match="no model 'net'"):
        load_checkpoint(nn.Linear(1, 1), 'zoo://net')


def test_code_is_refused(zoo, server, malicious, marker):
    zoo.publish('net', saved(dict(state_dict={}, meta=malicious)), server)
    with pytest.raises(ZooError, match='carries "posix.mkdir"'):
        load_checkpoint(nn.Linear(1, 1), 'zoo://net')
    assert not marker.exists()


RANKS = """
import torch.distributed as dist
from mmengine.runner import CheckpointLoader
from mmrazor_byot.launch import leave_processes
from mmrazor_byot.zoo import ZooError, scheme
dist.init_process_group('gloo')
try:
    CheckpointLoader.load_checkpoint('zoo://gone')
except ZooError as error:
    print('ZooError', error)
print(CheckpointLoader.load_checkpoint('zoo://net')['weight'].tolist())
leave_processes()
"""


def test_one_process_of_a_node_downloads(checkout, zoo, server, monkeypatch):
    content = saved({'weight': torch.tensor([1.0, 2.0])})
    name = zoo.publish('net', content, server)
    gone = zoo.publish('gone', b'gone', server)
    del server.files[f'/v1/{gone}']
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setenv('MASTER_PORT', str(port))
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    running = []
    for rank in '01':
        monkeypatch.setenv('RANK', rank)
        monkeypatch.setenv('LOCAL_RANK', rank)
        running.append(
            subprocess.Popen(
                [sys.executable, '-c', RANKS], cwd=checkout, stdout=subprocess.PIPE, text=True
            )
        )
    for process in running:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert f'ZooError {server.url}/v1/{gone} answered 404' in out
        assert '[1.0, 2.0]' in out
    asked = [request['path'] for request in server.requests]
    assert asked == [f'/v1/{gone}', f'/v1/{name}']
