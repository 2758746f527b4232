"""What training methods reach: every exit's accuracy over seeds.

All methods see the same images in the same order, for as many epochs at the
same learning rates. A run that is done is kept as a file and not done again;
one that was stopped goes on from its last checkpoint.

    TIN32=FILE.npz python benchmarks/accuracy.py --scale small --jobs 2
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

import torch
from accuracy_report import report
from machine import RESULTS, describe_machine, save_result
from methods import (
    METHODS,
    NEEDS,
    SCALES,
    TRIED,
    keep_apart,
    method_config,
)
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger

ROOT = Path(__file__).resolve().parent.parent
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--scale', choices=SCALES, default='small')
    parser.add_argument(
        '--methods', nargs='+', choices=[*METHODS, *TRIED], metavar='METHOD',
        default=[m for m in METHODS if m not in ('mmrazor', 'teacher')],
        help=f'of {", ".join([*METHODS, *TRIED])}; by default those that the '
        'tables compare; mmrazor, its own classes, only if it is named: '
        'mmrazor-equal computes the same, much faster')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument(
        '--held-out', action='store_true',
        help='train without a part of the training images and test on it, '
        'to choose settings')
    parser.add_argument(
        '--jobs', type=int, default=1,
        help='runs at a time, which share the cores')
    parser.add_argument(
        '--work-dir', default='work_dirs/accuracy',
        help='folder for logs and checkpoints')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={},
        metavar='KEY=VALUE',
        help='change the recipe that all methods start from')
    parser.add_argument('--name', help='of the results; default by scale')
    parser.add_argument('--out', default=RESULTS, help='folder for them')
    parser.add_argument(
        '--report', action='store_true', help='train nothing')
    args = parser.parse_args()
    args.name = args.name or f'accuracy_{args.scale}' + (
        '_held_out' if args.held_out else '')
    if args.jobs < 1:
        parser.error(f'--jobs {args.jobs}: at least 1')
    return args


@dataclass
class Run:
    """A method with a seed."""
    method: str
    seed: int
    args: argparse.Namespace

    @property
    def name(self) -> str:
        return f'{self.method}-{self.seed}'

    @property
    def result(self) -> Path:
        """What is kept of it when it is done."""
        return Path(self.args.out) / self.args.name / f'{self.name}.json'

    @property
    def folder(self) -> Path:
        return Path(self.args.work_dir) / self.args.name / self.name

    def config(self) -> Config:
        """What it trains."""
        scale = SCALES[self.args.scale]
        cfg = method_config(scale, self.method, self.args.cfg_options)
        if self.args.held_out:
            keep_apart(cfg, scale.hold_out_every)
        if self.method in NEEDS:
            teacher = Run(NEEDS[self.method], 0, self.args).folder
            epochs = cfg.train_cfg.max_epochs
            cfg.model.teacher_ckpt = str(teacher / f'epoch_{epochs}.pth')
        cfg.randomness = dict(seed=self.seed)
        cfg.train_cfg.val_interval = cfg.train_cfg.max_epochs  # one look
        cfg.work_dir = str(self.folder)
        return cfg

    def start(self, threads: int) -> subprocess.Popen:
        """Train it with tools/train.py, from where it was stopped."""
        cfg = self.config()
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / 'config.py'
        cfg.dump(file)
        with open(self.folder / 'output.log', 'w') as log:
            return subprocess.Popen(
                [sys.executable, str(ROOT / 'tools/train.py'), str(file),
                 '--resume'],
                stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, 'OMP_NUM_THREADS': str(threads)})

    def log(self) -> List[dict]:
        """What its newest log holds: losses, and accuracies at the end."""
        logs = sorted(self.folder.glob('*/vis_data/scalars.json'))
        if not logs:
            return []
        lines = logs[-1].read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith('}')]

    def epoch(self) -> int:
        """How far it is."""
        return max([line.get('epoch', 0) for line in self.log()], default=0)

    def finish(self, seconds: float) -> bool:
        """Keep its result; says whether there is one."""
        found = [x for x in self.log() if 'accuracy/top1' in x]
        if not found:
            return False
        save_result(
            self.name,
            dict(method=self.method, seed=self.seed, scale=self.args.scale,
                 held_out=self.args.held_out, settings=self.settings(),
                 epochs=self.config().train_cfg.max_epochs, seconds=seconds,
                 machine=describe_machine(DEVICE),
                 top1={name.split('/')[0]: value
                       for name, value in found[-1].items()
                       if name.endswith('/top1')}),
            self.result.parent)
        return True

    def settings(self) -> str:
        """Digest of all that could change the result."""
        cfg = self.config()
        for key in ('work_dir', 'default_hooks', 'log_processor'):
            cfg.pop(key, None)
        text = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
        for path in (str(Path(self.args.work_dir)), os.environ.get('TIN32')):
            text = text.replace(path or '\0', '')
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def is_done(self) -> bool:
        """Whether its result is there.

        Raises:
            SystemExit: It is there, but of other settings.
        """
        if not self.result.is_file():
            return False
        kept = json.loads(self.result.read_text())
        if kept['settings'] != self.settings():
            sys.exit(f'error: {self.result} was made with other settings; '
                     'remove it to train again, or choose another --name')
        return True


def all_runs(args: argparse.Namespace) -> List[Run]:
    """Seed by seed, so that all methods soon have one; teachers first."""
    teachers = {NEEDS[m] for m in args.methods if m in NEEDS}
    runs = [Run(m, 0, args) for m in sorted(teachers)]
    runs += [Run(m, seed, args) for seed in args.seeds for m in args.methods
             if not (m in teachers and seed == 0)]
    return runs


class Progress:
    """A line that says how far all is."""

    def __init__(self, runs: List[Run], epochs: int) -> None:
        self.runs, self.epochs = runs, epochs
        self.start = time.time()
        self.before: Optional[float] = None
        self.said = 0.0

    def show(self, done: int, active: List[Run]) -> None:
        """Rewrite the line; in a file, a line each five minutes."""
        epochs = {run.name: run.epoch() for run in active}
        share = (done + sum(epochs.values()) / self.epochs) / len(self.runs)
        if self.before is None:
            self.before = share
        if not sys.stdout.isatty() and time.time() - self.said < 300:
            return
        self.said = time.time()
        gained = share - self.before
        left = ((self.said - self.start) / gained * (1 - share) / 60
                if gained > 0 else None)
        text = f'{done} of {len(self.runs)} runs done; ' + ', '.join(
            f'{name}: epoch {n} of {self.epochs}'
            for name, n in epochs.items())
        text += f'; about {left:.0f} min left' if left is not None else ''
        ending = '\r' if sys.stdout.isatty() else '\n'
        print(f'{text:<78}', end=ending, flush=True)


def train_all(args: argparse.Namespace) -> List[str]:
    """Train what is not done; returns the names of runs that failed."""
    runs = all_runs(args)
    waiting = [run for run in runs if not run.is_done()]
    if not waiting:
        return []
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    progress = Progress(runs, waiting[0].config().train_cfg.max_epochs)
    active, failed = [], []
    while waiting or active:
        names = [run.method for run, _, _ in active]
        while waiting and len(active) < args.jobs:
            need = NEEDS.get(waiting[0].method)
            if need in names:  # its teacher is still being trained
                break
            run = waiting.pop(0)
            active.append((run, run.start(threads), time.time()))
        time.sleep(1)
        for task in active[:]:
            run, process, start = task
            if process.poll() is None:
                continue
            active.remove(task)
            if process.returncode or not run.finish(time.time() - start):
                failed.append(run.name)
                print(f'\n{run.name} failed, see {run.folder}/output.log')
        done = len(runs) - len(waiting) - len(active) - len(failed)
        progress.show(done, [run for run, _, _ in active])
    print()
    return failed


def main() -> None:
    args = parse_args()
    # Each config read would say where it found the images.
    MMLogger.get_instance('mmengine').setLevel('WARNING')
    failed = [] if args.report else train_all(args)
    report(Path(args.out), args.name, args.methods)
    if failed:
        sys.exit(f'error: {len(failed)} runs failed: {", ".join(failed)}')


if __name__ == '__main__':
    main()
