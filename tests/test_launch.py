"""What the tools share."""

import argparse
import os
import warnings

import pytest
import torch
from mmengine.config import Config
from run import failed, script, tool

from mmrazor_byot import launch
from mmrazor_byot.errors import ByotWarning, ConfigError, DeprecatedWarning
from mmrazor_byot.exits.shapes import image_size


def arguments(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    launch.add_runner_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_load_config(tmp_path):
    """The changes reach into what is nested, with their types."""
    path = tmp_path / 'a.py'
    path.write_text("model = dict(depth=18, out=(0, 1), name='a')\nresume = x = 1\n")
    changes = ['model.depth=50', 'model.out="[2,3]"', 'test_cfg.z=0.5', 'resume=None']
    args = arguments(path, '--cfg-options', *changes)
    cfg = launch.load_config(args.config, args.cfg_options)
    model = dict(depth=50, out=[2, 3], name='a')
    assert cfg.to_dict() == dict(model=model, resume=None, x=1, test_cfg=dict(z=0.5))
    assert launch.load_config(path).resume == 1


@pytest.mark.parametrize(
    'name, text, options, reason',
    [
        ('a.py', 'model = dict(', {}, 'SyntaxError: '),
        ('a.py', 'x = 1 / 0', {}, 'ZeroDivisionError: division by zero'),
        ('a.py', "_base_ = './no.py'", {}, 'FileNotFoundError: '),
        ('a.py', 'raise ValueError', {}, 'ValueError: no message'),
        ('a.txt', 'x = 1', {}, 'OSError: '),
        ('a.py', 'x = [1]', {'x.7': 2}, 'KeyError: '),
    ],
)
def test_config_that_cannot_be_read(tmp_path, name, text, options, reason):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        launch.load_config(path, options)
    assert str(caught.value).startswith(f'config "{path}" cannot be read: {reason}')


def test_a_tool_reports_one_line(tmp_path):
    done = tool('get_flops.py', tmp_path / 'no.py')
    assert done.returncode == 1 and done.stdout == ''
    assert f'config "{tmp_path}/no.py" does not exist' in failed(done)


RANK = r"""
import atexit, os, sys
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from mmrazor_byot.launch import run_tool
atexit.register(sys.stdout.write, 'kept\n')
def main():
    global model  # alive until the end
    dist.init_process_group('gloo')
    model = DistributedDataParallel(torch.nn.Linear(4, 4))
    model(torch.ones(2, 4)).sum().backward()
    sys.stdout.write('said\n')  # at once, as two ranks share it
run_tool(main)
"""


@pytest.mark.parametrize('times', [1, pytest.param(50, marks=pytest.mark.slow)])
def test_processes_leave_together(tmp_path, times):
    """Clean ends: neither gloo's threads nor torch's clean-up abort a process."""
    (tmp_path / 'rank.py').write_text(RANK)
    for _ in range(times):
        done = script(tmp_path / 'rank.py', ranks=2)
        assert (done.returncode, done.stderr) == (0, '')
        assert sorted(done.stdout.split()) == ['kept', 'kept', 'said', 'said']


def test_another_process_has_gone(capsys):
    """What gloo says of it is one line."""

    def tool():
        raise RuntimeError('[gloo/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:9141.')

    with pytest.raises(SystemExit, match='1'):
        launch.run_tool(tool)
    said = 'error: another process of this run has ended; see its output\n'
    assert capsys.readouterr() == ('', said)


@pytest.mark.parametrize('size', [0, -1, (), (1, 2, 3, 4), (0, 32)])
def test_image_size_that_cannot_be(size):
    with pytest.raises(ConfigError, match='positive'):
        image_size(size)


@pytest.fixture
def apply(monkeypatch):
    """Brings arguments into a config; the GPU is made up."""

    def apply(*words, has_gpu=False, **settings):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_gpu)
        cfg = Config(settings)
        args = arguments('configs/a_1xb2_b.py', *words)
        launch.apply_runner_arguments(cfg, args)
        return cfg

    return apply


@pytest.mark.parametrize(
    'words, settings, work_dir',
    [
        ([], {}, 'work_dirs/a_1xb2_b'),
        ([], dict(work_dir='mine'), 'mine'),
        (['--work-dir', 'yours'], dict(work_dir='mine'), 'yours'),
    ],
)
def test_work_dir(apply, words, settings, work_dir):
    cfg = apply(*words, **settings)
    assert (cfg.work_dir, cfg.launcher) == (work_dir, 'none')


@pytest.mark.parametrize(
    'has_gpu, words, own, pinned',
    [
        (False, [], {}, False),
        (True, [], {}, True),
        (True, [], dict(pin_memory=False), False),
        (False, [], dict(pin_memory=True), True),
        (True, ['--no-pin-memory'], dict(pin_memory=True), False),
    ],
)
def test_loaders(apply, has_gpu, words, own, pinned):
    pseudo = dict(type='pseudo_collate')
    cfg = apply(
        *words,
        has_gpu=has_gpu,
        train_dataloader=dict(batch_size=2, **own),
        val_dataloader=dict(collate_fn=pseudo, **own),
        test_dataloader=None,
    )
    default = dict(type='default_collate')
    train = dict(batch_size=2, pin_memory=pinned, collate_fn=default)
    assert cfg.train_dataloader.to_dict() == train
    val = dict(pin_memory=pinned, collate_fn=pseudo)
    assert cfg.val_dataloader.to_dict() == val
    assert cfg.test_dataloader is None


@pytest.fixture
def start(monkeypatch):
    """Starts one of so many processes; returns config and what was begun."""
    monkeypatch.setenv('LOCAL_RANK', '0')

    def start(launcher, processes, gpus, *words, **settings):
        begun = []
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
        monkeypatch.setenv('LOCAL_WORLD_SIZE', str(processes))
        monkeypatch.setenv('RANK', '0')
        monkeypatch.setenv('SLURM_PROCID', '0')
        note = lambda *args, **kwargs: begun.append((args, kwargs))  # noqa
        select = lambda *args, **kwargs: (torch.cuda.set_device(9), note(*args, **kwargs))  # noqa
        monkeypatch.setattr(launch, 'init_dist', select)  # MMEngine's selects a device too
        monkeypatch.setattr(launch, 'set_multi_processing', note)
        cfg = Config(settings)
        args = arguments('a.py', '--launcher', launcher, *words)
        launch.start_processes(cfg, args)
        return cfg.to_dict(), begun

    return start


@pytest.mark.parametrize('processes, gpus', [(2, 1), (9, 8)])
def test_more_processes_than_gpus(start, processes, gpus):
    with pytest.raises(ConfigError, match=f'{processes} processes .* {gpus} GPUs'):
        start('pytorch', processes, gpus)


@pytest.mark.parametrize(
    'launcher, variable',
    [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI_COMM_WORLD_RANK')],
)
def test_process_that_no_launcher_started(monkeypatch, launcher, variable):
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match=f'--launcher {launcher}: {variable} is not set'):
        launch.start_processes(Config(), arguments('a.py', '--launcher', launcher))


def test_warnings_of_ours_are_lines(capsys, monkeypatch):
    def warn():
        warnings.warn('one\ntwo', ByotWarning, stacklevel=1)
        warnings.warn('old', DeprecatedWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter('always')
        monkeypatch.setenv('RANK', '0')
        launch.run_tool(warn)
        monkeypatch.setenv('RANK', '1')
        launch.run_tool(warn)
    assert capsys.readouterr().err == 'warning: one; two\nwarning: old\n'


@pytest.mark.parametrize('case', [('pytorch', 8, 8), ('slurm', 1, 8)])
def test_processes_with_a_gpu(start, monkeypatch, case):
    devices = []
    monkeypatch.setattr(torch.cuda, 'set_device', devices.append)
    cfg, (multi_processing, dist) = start(*case, env_cfg=dict(dist_cfg=dict(backend='nccl')))
    assert cfg == dict(env_cfg=dict(dist_cfg=dict(backend='nccl')))
    assert dist == ((case[0],), dict(backend='nccl')) and devices == [9]


def test_one_process_needs_no_group(start):
    assert start('none', 1, 0, x=1) == (dict(x=1), [])


def test_a_port_in_use(start, monkeypatch):
    def init_dist(*args, **kwargs):
        raise RuntimeError('port: 29500, name: EADDRINUSE, message: address already in use')

    monkeypatch.setenv('MASTER_PORT', '29500')
    monkeypatch.setattr(launch, 'default_signals', init_dist)
    with pytest.raises(ConfigError, match='port 29500 is in use, .* PORT=29501'):
        start('pytorch', 2, 0)


@pytest.mark.parametrize('own', [dict(type='Mine', static_graph=True), None])
def test_gloo_without_a_gpu(start, own):
    settings = dict(model_wrapper_cfg=own, find_unused_parameters=True)
    cfg, (multi_processing, dist) = start('pytorch', 2, 0, **settings)
    wrapper = own or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=True,
    )
    assert cfg['model_wrapper_cfg'] == dict(wrapper, device_ids=None)
    assert cfg['env_cfg'] == dict(dist_cfg=dict(backend='gloo'))
    assert multi_processing == ((), dict(distributed=True))
    assert dist == (('pytorch',), dict(backend='gloo'))


@pytest.mark.parametrize('word', ['--local_rank=3', '--local-rank=3'])
@pytest.mark.parametrize('known, rank', [(None, '3'), ('1', '1')])
def test_local_rank(start, monkeypatch, word, known, rank):
    """The variable counts where the launcher gives both."""
    monkeypatch.delenv('LOCAL_RANK')
    if known:
        monkeypatch.setenv('LOCAL_RANK', known)
    start('none', 1, 0, word)
    assert os.environ['LOCAL_RANK'] == rank
