"""Shared by the tools: flags, configs, processes and the output of errors."""

import argparse
import atexit
import logging
import os
import sys
import time
from typing import Any, Callable
from unittest import mock

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing

from .cfg_options import add_config_options
from .config_errors import config_errors
from .config_file import load_config as load_config  # the tools import it from here
from .engine.hooks import ConsoleHook
from .errors import ByotError, ConfigError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
#: Seconds that other ranks wait before they report an error. If rank 0 has reported the same one,
#: the launcher ends them before that.
REPORT_DELAY_S = 15
#: Exit status that tells tools/dist_run.py that the error has been reported.
REPORTED = 3


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool, and print a :class:`ByotError` as one line, with exit status 1.

    An error that all ranks raise is printed by rank 0 only.
    """
    try:
        with config_errors():
            main()
        if dist.is_initialized():
            leave_processes()
    except ByotError as e:
        if int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0))):
            time.sleep(REPORT_DELAY_S)
        sys.stdout.flush()
        print(f'error: {e}', file=sys.stderr, flush=True)
        # The usual clean-up would wait for the other ranks.
        os._exit(REPORTED if 'TORCHELASTIC_RUN_ID' in os.environ else 1)


def leave_processes() -> None:
    """Destroy the process group once all ranks are done.

    With gloo the process ends here, without torch's own clean-up, in which gloo's threads sometimes
    abort a process that has finished.
    """
    dist.barrier()  # a rank that leaves while others send to it makes them fail
    backend = dist.get_backend()
    dist.destroy_process_group()
    if backend == 'gloo':
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


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
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if loader := cfg.get(key):
            loader.setdefault('pin_memory', torch.cuda.is_available())
            loader.setdefault('collate_fn', dict(type='default_collate'))
            if args.no_pin_memory:
                loader.pin_memory = False


def build_runner(cfg: Config, config: str) -> Runner:
    """Build the runner of a config, whose file the user named ``config``.

    What MMEngine logs goes to the file alone; the console shows what :class:`ConsoleHook` says.
    """
    build_logger = Runner.build_logger

    def build_quiet_logger(self: Runner, *args: Any, **kwargs: Any) -> MMLogger:
        logger = build_logger(self, *args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.ERROR)
        return logger

    with mock.patch.object(Runner, 'build_logger', build_quiet_logger):
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    runner.register_hook(ConsoleHook(config))
    return runner


def start_processes(cfg: Config, args: argparse.Namespace) -> None:
    """Without a GPU, initialize the process group with gloo, and set the config to run on the CPU.

    With GPUs the Runner does it; a :class:`ConfigError` if there are more processes than GPUs.
    """
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.launcher == 'none':
        return
    gpus, processes = torch.cuda.device_count(), int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    if processes > gpus > 0:
        raise ConfigError(
            f'{processes} processes were asked for, but this machine has {gpus} GPUs: start '
            f'{gpus}, or set CUDA_VISIBLE_DEVICES=-1 to train on the CPU'
        )
    if gpus:
        return
    cfg.setdefault('env_cfg', {})
    cfg.env_cfg.dist_cfg = dict(backend='gloo')
    default = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    # MMEngine's default would be the number of a GPU.
    cfg.model_wrapper_cfg = {**(cfg.get('model_wrapper_cfg') or default), 'device_ids': None}
    set_multi_processing(**cfg.env_cfg.get('mp_cfg', {}), distributed=True)
    with mock.patch.object(torch.cuda, 'set_device'):  # MMEngine calls it whatever the backend
        init_dist(args.launcher, backend='gloo')
