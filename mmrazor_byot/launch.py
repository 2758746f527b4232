"""What the tools share: flags, configs, processes, and how errors look."""

import argparse
import atexit
import logging
import os
import sys
import time
from typing import Any, Callable, Optional
from unittest import mock

import torch
import torch.distributed as dist
from mmengine.config import Config, DictAction
from mmengine.dist import init_dist
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing

from .compat import no_cuda_device
from .engine.hooks import ConsoleHook
from .errors import ByotError, ConfigError
from .files import PathLike

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
#: So long a rank waits before it reports what rank 0 may have reported, after which the launcher
#: ends it.
REPORT_DELAY_S = 15
#: Exit status by which tools/dist_run.py knows that the error is reported.
REPORTED = 3


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; an error of the user's is one line, and exit status 1.

    If all ranks meet the same error, only the first reports it.
    """
    try:
        main()
        if dist.is_initialized():
            leave_processes()
    except ByotError as e:
        if int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0))):
            time.sleep(REPORT_DELAY_S)
        sys.stdout.flush()
        print(f'error: {e}', file=sys.stderr, flush=True)
        # Without clean-up, which would wait for the other ranks.
        os._exit(REPORTED if 'TORCHELASTIC_RUN_ID' in os.environ else 1)


def leave_processes() -> None:
    """End this process when all that work together are done.

    With gloo it ends without torch's last clean-up, in which gloo's threads sometimes abort a
    process that has finished.
    """
    # A rank that leaves while others still talk to it crashes.
    dist.barrier()
    backend = dist.get_backend()
    dist.destroy_process_group()
    if backend == 'gloo':
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def only_warnings() -> None:
    """Keep MMEngine from logging each data set and checkpoint."""
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
    # torch.distributed.launch passes it as a flag, torchrun as a variable.
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, for example '
        'model.exit_head.reduction=2 train_cfg.max_epochs=10; lists as '
        'key="[a,b]" without white space',
    )


def load_config(path: PathLike, options: Optional[dict] = None) -> Config:
    """Read a config, with changes.

    Args:
        path (str | Path): Its file.
        options (dict, optional): Dotted names of settings to their values, as ``--cfg-options``
            gives them.

    Raises:
        ConfigError: The file is missing or does not parse.
    """
    if not os.path.isfile(path):
        raise ConfigError(f'config "{path}" does not exist; check the path')
    try:
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(options or {})
    except Exception as e:  # a config is code: anything can go wrong in it
        reason = str(e).strip() or 'no message'
        raise ConfigError(f'config "{path}" cannot be read: {type(e).__name__}: {reason}') from e
    return cfg


def apply_runner_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Bring the flags of :func:`add_runner_arguments` into the config."""
    cfg.launcher = args.launcher
    name = os.path.splitext(os.path.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or os.path.join('work_dirs', name)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(key)
        if loader:
            loader.setdefault('pin_memory', torch.cuda.is_available())
            loader.setdefault('collate_fn', dict(type='default_collate'))
            if args.no_pin_memory:
                loader.pin_memory = False


def build_runner(cfg: Config, config: str) -> Runner:
    """Build the config's runner, of its ``runner_type`` if it names one.

    What MMEngine logs goes to the file alone; the console shows what :class:`ConsoleHook` says.

    Args:
        cfg (Config): The config.
        config (str): Its file as the user named it.
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
    """Join the other processes, on gloo if there is no GPU.

    With GPUs MMEngine's Runner does all of it.

    Args:
        cfg (Config): Without a GPU it is changed to run on the CPU.
        args (argparse.Namespace): With ``launcher`` and ``local_rank``.

    Raises:
        ConfigError: More processes than GPUs.
    """
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.launcher == 'none':
        return
    gpus = torch.cuda.device_count()
    if gpus:
        processes = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
        if processes > gpus:
            raise ConfigError(
                f'{processes} processes were asked for, but this machine has {gpus} GPUs: start '
                f'{gpus}, or set CUDA_VISIBLE_DEVICES=-1 to train on the CPU'
            )
        return
    cfg.setdefault('env_cfg', {})
    cfg.env_cfg.dist_cfg = dict(backend='gloo')
    default = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    # MMEngine would give DDP a GPU's number.
    cfg.model_wrapper_cfg = {**(cfg.get('model_wrapper_cfg') or default), 'device_ids': None}
    set_multi_processing(**cfg.env_cfg.get('mp_cfg', {}), distributed=True)
    with no_cuda_device():
        init_dist(args.launcher, backend='gloo')
