"""What the tools share: flags, configs, processes, and how errors look."""

import argparse
import atexit
import os
import sys
import time
from copy import deepcopy
from typing import Callable, Optional

import torch
import torch.distributed as dist
from mmengine.config import Config, DictAction
from mmengine.dist import init_dist
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing

from .compat import no_cuda_device
from .errors import ByotError, ConfigError
from .files import PathLike

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
#: A rank waits so long before it reports what rank 0 may have reported; by then the launcher has
#: ended it if so.
REPORT_DELAY_S = 15

#: Exit status by which tools/dist_run.py knows that all has been said.
REPORTED = 3


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; an error of the user's is one line, and exit status 1.

    Where all ranks meet the same error, only the first reports it.

    Args:
        main: The tool.
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

    With gloo it ends without torch's last clean-up, in which gloo's threads now and then abort a
    process that has done all it had to.
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
    """Keep MMEngine from telling of each data set and checkpoint."""
    MMLogger.get_instance('mmengine').setLevel('WARNING')


def add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that train.py and test.py share.

    Args:
        parser: To add them to.
    """
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='do not pin memory in data loaders'
    )
    add_config_options(parser)
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='job launcher')
    # Older launchers pass it as a flag, torchrun as a variable.
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``.

    Args:
        parser: To add it to.
    """
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
    """Bring what train.py and test.py share into the config.

    Args:
        cfg: The config; it is changed.
        args: Of :func:`add_runner_arguments`.
    """
    cfg.launcher = args.launcher
    name = os.path.splitext(os.path.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or os.path.join('work_dirs', name)
    defaults = dict(pin_memory=torch.cuda.is_available(), collate_fn=dict(type='default_collate'))
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(loader):
            cfg[loader] = {**deepcopy(defaults), **cfg[loader]}
            if args.no_pin_memory:
                cfg[loader]['pin_memory'] = False


def build_runner(cfg: Config) -> Runner:
    """Build the config's runner, of its ``runner_type`` if it names one.

    Args:
        cfg: The config.
    """
    build = RUNNERS.build if 'runner_type' in cfg else Runner.from_cfg
    return build(cfg)


def start_processes(cfg: Config, args: argparse.Namespace) -> None:
    """Join the other processes, on gloo where there is no GPU.

    With GPUs MMEngine's Runner does all of it.

    Args:
        cfg: The config; without a GPU it is changed to run on the CPU.
        args: With ``launcher`` and ``local_rank``.

    Raises:
        ConfigError: More processes than GPUs.
    """
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.launcher == 'none':
        return
    gpus = torch.cuda.device_count()
    processes = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    if gpus:
        if processes > gpus:
            raise ConfigError(
                f'{processes} processes were asked for, but this machine has {gpus} GPUs: start '
                f'{gpus}, or set CUDA_VISIBLE_DEVICES=-1 to train on the CPU'
            )
        return
    cfg.setdefault('env_cfg', {})
    cfg.env_cfg['dist_cfg'] = dict(backend='gloo')
    # MMEngine would hand DDP a GPU number.
    wrapper = dict(
        cfg.get('model_wrapper_cfg')
        or dict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    )
    cfg.model_wrapper_cfg = {**wrapper, 'device_ids': None}
    set_multi_processing(**cfg.env_cfg.get('mp_cfg', {}), distributed=True)
    with no_cuda_device():
        init_dist(args.launcher, backend='gloo')
