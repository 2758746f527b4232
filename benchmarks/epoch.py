"""What a whole epoch costs: loader, steps, hooks and log, through the Runner.

Each recipe trains in a process of its own. A data set whose files are not at hand is replaced by
random images, which go the same way.

    python benchmarks/epoch.py RECIPE.py OTHER.py --batch 128 --methods mmrazor
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Optional

import torch
from machine import RESULTS, describe_machine, save_result
from mmengine.config import Config
from mmengine.runner import Runner
from peers import RECIPES, mmrazor_config
from synthetic import with_images
from watch import peak_mib, watch_epochs

from mmrazor_byot.command import catch_signals, run_command
from mmrazor_byot.launch import add_config_options
from mmrazor_byot.table import format_table

COLUMNS = (
    'images/s',
    'waiting',
    'hooks, log',
    'GPU busy',
    'peak MiB',
    'times its steps',
    'times first',
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('configs', nargs='*', metavar='CONFIG')
    parser.add_argument(
        '--methods',
        nargs='+',
        choices=['mmrazor'],
        default=[],
        help="MMRazor's SelfDistill with its own data pipeline and hooks",
    )
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument('--warmup', type=int, default=1, help='epochs that do not count')
    parser.add_argument('--batch', type=int, help='images a step')
    parser.add_argument('--images', type=int, help='at most so many an epoch')
    parser.add_argument('--synthetic', action='store_true', help='random images in any case')
    add_config_options(parser)
    parser.add_argument('--name', default='epoch', help='of the result file')
    parser.add_argument('--out', default=RESULTS, help='folder for it')
    parser.add_argument('--row', help=argparse.SUPPRESS)  # a process's task
    args = parser.parse_args()
    if not args.configs and not args.methods:
        parser.error('name a CONFIG, or --methods mmrazor')
    return args


def tasks(args: argparse.Namespace) -> dict:
    """What is measured: name, and how to get the config."""
    rows = {Path(c).stem: dict(config=c) for c in args.configs}
    if 'mmrazor' in args.methods:
        rows['mmrazor'] = dict(config=None)
        cores = os.cpu_count()
        rows[f'mmrazor, {cores} workers'] = dict(config=None, workers=cores)
    return rows


def mmrazor_recipe(images_of: Optional[str] = None) -> Config:
    """MMRazor's model, pipeline and schedule with MMEngine's own hooks.

    Args:
        images_of: A recipe from which the images come, if not CIFAR-100's.
    """
    cfg = Config.fromfile(RECIPES / 'byot_mmrazor_resnet18_8xb16_cifar100.py')
    cfg.model = mmrazor_config()
    # As mmpretrain's default_runtime.py says.
    cfg.default_hooks = dict(logger=dict(type='LoggerHook', interval=100))
    cfg.custom_hooks = []
    if images_of:
        images = Config.fromfile(images_of).train_dataloader.dataset
        while 'dataset' in images:
            images = images.dataset
        pipeline = cfg.train_dataloader.dataset.pipeline
        cfg.train_dataloader.dataset = {**images, 'pipeline': pipeline}
    return cfg


def prepare(args: argparse.Namespace, task: dict, folder: str) -> tuple:
    """The config that is run, and whether its images are random."""
    cfg = Config.fromfile(task['config']) if task['config'] else mmrazor_recipe(*args.configs[:1])
    if args.cfg_options and task['config']:  # MMRazor's is run as it is
        cfg.merge_from_dict(args.cfg_options)
    loader = cfg.train_dataloader
    if args.batch:
        loader.batch_size = args.batch
    if task.get('workers') is not None:
        loader.num_workers = task['workers']
    loader.setdefault('pin_memory', torch.cuda.is_available())
    loader.setdefault('collate_fn', dict(type='default_collate'))
    size = cfg.model.get('input_size', 32)
    classes = cfg.get('data_preprocessor', cfg.model.get('data_preprocessor')).num_classes
    loader.dataset, is_random = with_images(
        loader.dataset,
        args.images,
        size if isinstance(size, int) else size[-1],
        classes,
        args.synthetic,
    )
    cfg.train_cfg.max_epochs = args.warmup + args.epochs
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint = None
    cfg.work_dir, cfg.log_level = folder, 'WARNING'
    return cfg, is_random


def measure(args: argparse.Namespace, task: dict) -> dict:
    """Train in this process, and look on."""
    with tempfile.TemporaryDirectory() as folder:
        cfg, is_random = prepare(args, task, folder)
        runner = Runner.from_cfg(cfg)
        watch = watch_epochs(runner, args.warmup)
        runner.train()
    loader = cfg.train_dataloader
    return dict(
        data='random images' if is_random else 'its own',
        batch=loader.batch_size,
        workers=loader.num_workers,
        images=len(runner.train_dataloader.dataset),
        peak_mib=peak_mib(),
        **watch.median(),
        epochs=watch.rows,
    )


def measure_apart(task: dict) -> dict:
    """Measure in another process, so that none inherits another's memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'row.json')
        subprocess.run(
            [
                sys.executable,
                __file__,
                *sys.argv[1:],
                '--row',
                json.dumps(dict(task, path=str(path))),
            ],
            check=True,
        )
        return json.loads(path.read_text())


def print_table(rows: dict) -> None:
    first = next(iter(rows.values()))
    lines = [['', *COLUMNS]]
    for name, row in rows.items():
        busy = row['gpu_busy']
        cells = (
            f'{row["images_per_s"]:.0f}',
            f'{row["data_fraction"]:.1%}',
            f'{row["outside_fraction"]:.1%}',
            '' if busy is None else f'{busy:.1%}',
            f'{row["peak_mib"]:.0f}',
            f'{row["times_steps"]:.3f}',
            f'{row["images_per_s"] / first["images_per_s"]:.2f}',
        )
        lines.append([name, *cells])
    print(format_table(lines, markdown=True))


def main() -> None:
    args = parse_args()
    if args.row:
        task = json.loads(args.row)
        row = measure(args, task)
        Path(task['path']).write_text(json.dumps(row))
        return
    machine = describe_machine('cuda' if torch.cuda.is_available() else 'cpu')
    rows = {}
    for name, task in tasks(args).items():  # a run that is cut off keeps the rows before
        rows[name] = measure_apart(task)
        path = save_result(
            args.name,
            dict(machine=machine, command=' '.join(['python', *sys.argv]), rows=rows),
            args.out,
        )
    print(
        f'{machine["gpu"] or machine["processor"]}, {machine["threads"]} threads, torch '
        f'{machine["torch"]}; {args.epochs} epochs; data: '
        + ', '.join(sorted({row['data'] for row in rows.values()}))
    )
    print_table(rows)
    print(f'written to {path}')


if __name__ == '__main__':
    catch_signals()
    run_command(main)
