"""Shared by the tools: flags, configs, processes and the output of errors."""

import argparse
import inspect
import os
from typing import Callable
from unittest import mock

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from mmpretrain.engine import VisualizationHook
from mmpretrain.visualization import UniversalVisualizer

from .cfg_options import add_config_options
from .command import default_signals, run_command
from .config_errors import config_errors
from .config_file import load_config as load_config  # the tools import it from here
from .errors import ConfigError
from .files import check_writable

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
#: The variable that tells a process its rank, by launcher.
RANK_VARIABLES = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; see :func:`~mmrazor_byot.command.run_command` for its errors."""

    def run() -> None:
        with config_errors():
            main()
        if dist.is_initialized():
            leave_processes()

    run_command(run)


def leave_processes() -> None:
    """Destroy the process group once all ranks are done."""
    dist.barrier()  # a rank that leaves while others send to it makes them fail
    dist.destroy_process_group()


def only_warnings() -> None:
    """Set the level of MMEngine's logger to WARNING."""
    MMLogger.get_instance('mmengine').setLevel('WARNING')


def add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that train.py and test.py share."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='do not pin memory in data loaders'
    )
    add_config_options(parser)
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='job launcher')
    # torch.distributed.launch passes this flag, torchrun an environment variable.
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)


def apply_runner_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Set the flags of :func:`add_runner_arguments` in the config."""
    cfg.launcher = args.launcher
    name = os.path.splitext(os.path.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or os.path.join('work_dirs', name)
    check_writable(cfg.work_dir, is_folder=True)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if loader := cfg.get(key):
            loader.setdefault('pin_memory', torch.cuda.is_available())
            loader.setdefault('collate_fn', dict(type='default_collate'))
            if args.no_pin_memory:
                loader.pin_memory = False


def build_runner(cfg: Config) -> Runner:
    """Build the runner of a config, with :class:`ConsoleHook`; MMEngine's log goes to its file."""
    console = dict(type='mmrazor_byot.ConsoleHook')
    cfg.default_hooks = dict(console=console) | (cfg.get('default_hooks') or {})
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    for hook in runner.hooks:
        if isinstance(hook, VisualizationHook):  # it draws first after an epoch
            draw = getattr(hook._visualizer, 'visualize_cls', UniversalVisualizer.visualize_cls)
            try:
                inspect.signature(draw).bind_partial(**hook.draw_args)
            except TypeError as e:
                raise ConfigError(f'default_hooks.visualization: {e}') from e
    return runner


def start_processes(cfg: Config, args: argparse.Namespace) -> None:
    """Initialize the process group; without a GPU with gloo, and set the config to run on the CPU.

    Raises:
        ConfigError: There are more processes than GPUs, or the port is in use.
    """
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.launcher == 'none':
        return
    if (variable := RANK_VARIABLES[args.launcher]) not in os.environ:
        raise ConfigError(
            f'--launcher {args.launcher}: {variable} is not set, so this process was not started '
            'by it; use sh tools/dist_train.sh, dist_test.sh or slurm_train.sh'
        )
    gpus, processes = torch.cuda.device_count(), int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    if processes > gpus > 0:
        raise ConfigError(
            f'{processes} processes were asked for, but this machine has {gpus} GPUs: start '
            f'{gpus}, or set CUDA_VISIBLE_DEVICES=-1 to train on the CPU'
        )
    cfg.setdefault('env_cfg', {})
    set_device = torch.cuda.set_device
    if not gpus:
        cfg.env_cfg.dist_cfg = dict(backend='gloo')
        default = dict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
        # MMEngine's default would be the number of a GPU.
        cfg.model_wrapper_cfg = {**(cfg.get('model_wrapper_cfg') or default), 'device_ids': None}
        set_device = mock.Mock()  # MMEngine calls it whatever the backend
    set_multi_processing(**cfg.env_cfg.get('mp_cfg', {}), distributed=True)
    try:
        with mock.patch.object(torch.cuda, 'set_device', set_device), default_signals():
            init_dist(args.launcher, **cfg.env_cfg.get('dist_cfg', {}))
    except RuntimeError as e:
        if 'EADDRINUSE' not in str(e):
            raise
        raise ConfigError(
            f'port {os.environ["MASTER_PORT"]} is in use, perhaps by another run: choose another, '
            'for example PORT=29501 sh tools/dist_train.sh ...'
        ) from e
