"""One run of accuracy.py: a method with a seed."""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

import torch
from machine import describe_machine, save_result
from methods import NEEDS, method_config
from mmengine.config import Config
from scales import SCALES, evaluate_on_unused, hold_out_images

ROOT = Path(__file__).resolve().parent.parent
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


@dataclass
class Run:
    """A method with a seed."""

    method: str
    seed: int
    args: argparse.Namespace

    @property
    def label(self) -> str:
        """The method, with what is changed in all of them."""
        variant = self.args.variant
        return f'{self.method}-{variant}' if variant else self.method

    @property
    def name(self) -> str:
        return f'{self.label}-{self.seed}'

    @property
    def result(self) -> Path:
        """What is kept of it when it is done."""
        return Path(self.args.out) / self.args.name / f'{self.name}.json'

    @property
    def folder(self) -> Path:
        """Of its logs and checkpoints."""
        return Path(self.args.work_dir) / self.args.trained / self.name

    @property
    def checkpoint(self) -> Path:
        """The trained network."""
        epochs = self.config().train_cfg.max_epochs
        return self.folder / f'epoch_{epochs}.pth'

    def config(self) -> Config:
        """What it trains."""
        scale = SCALES[self.args.scale]
        cfg = method_config(scale, self.method, self.args.cfg_options)
        if self.args.held_out:
            hold_out_images(cfg, scale.hold_out_every)
        if self.method in NEEDS:
            teacher = Run(NEEDS[self.method], 0, self.args)
            cfg.model.teacher_ckpt = str(teacher.checkpoint)
        cfg.randomness = dict(seed=self.seed)
        cfg.train_cfg.val_interval = cfg.train_cfg.max_epochs  # one look
        cfg.work_dir = str(self.folder)
        return cfg

    def command(self, config: Path) -> List[str]:
        """Train it with tools/train.py, from where it was stopped."""
        return ['train.py', str(config), '--resume']

    def start(self, threads: int) -> subprocess.Popen:
        """Start its command."""
        cfg = self.config()
        folder = Path(cfg.work_dir)
        folder.mkdir(parents=True, exist_ok=True)
        cfg.dump(folder / 'config.py')
        tool, *arguments = self.command(folder / 'config.py')
        with open(folder / 'output.log', 'w') as log:
            return subprocess.Popen(
                [sys.executable, str(ROOT / 'tools' / tool), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, 'OMP_NUM_THREADS': str(threads)},
            )

    def metrics(self) -> Optional[dict]:
        """Accuracies of its end, by their names in the newest log; None without one."""
        found = None
        for log in sorted(self.folder.glob('*/vis_data/scalars.json'))[-1:]:
            for line in log.read_text().splitlines():
                if '"accuracy/top1"' in line:
                    found = json.loads(line)
        return found

    def finish(self, seconds: float) -> bool:
        """Keep its result; says whether there is one."""
        metrics = self.metrics()
        if not metrics:
            return False
        save_result(
            self.name,
            dict(
                method=self.label,
                seed=self.seed,
                scale=self.args.scale,
                held_out=self.args.held_out,
                unused=self.args.unused,
                settings=self.settings(),
                epochs=self.config().train_cfg.max_epochs,
                seconds=seconds,
                machine=describe_machine(DEVICE),
                top1={
                    name.split('/')[0]: value
                    for name, value in metrics.items()
                    if name.endswith('/top1')
                },
            ),
            self.result.parent,
        )
        return True

    def settings(self) -> str:
        """Digest of all that could change the result."""
        cfg = self.config()
        hooks = cfg.default_hooks
        for key in ('work_dir', 'default_hooks', 'log_processor'):
            cfg.pop(key, None)
        if 'ema' in hooks:  # the others leave the network as it is
            cfg.ema = hooks.ema
        text = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
        # The paths of images and teacher are not settings.
        images = cfg.train_dataloader.dataset.dataset
        for path in (
            str(Path(self.args.work_dir)),
            images.get('ann_file'),
            images.get('data_root'),
        ):
            text = text.replace(path, '') if path else text
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
            sys.exit(
                f'error: {self.result} was made with other settings; remove it to train again, or '
                'choose another --name'
            )
        return True


class UnusedRun(Run):
    """A trained network, tested on the training images that it was not shown.

    They are many more than the test images, so the noise is smaller.
    """

    def config(self) -> Config:
        cfg = super().config()
        evaluate_on_unused(cfg)
        cfg.work_dir = str(self.folder / 'unused')
        return cfg

    def command(self, config: Path) -> List[str]:
        """Test it with tools/test.py.

        Raises:
            SystemExit: It has not been trained.
        """
        if not self.checkpoint.is_file():
            raise SystemExit(
                f'error: --unused: {self.checkpoint} is missing; train it by the same command '
                'without --unused'
            )
        return [
            'test.py',
            str(config),
            str(self.checkpoint),
            '--out',
            str(self.accuracies),
            '--out-item',
            'metrics',
        ]

    @property
    def accuracies(self) -> Path:
        """What the test writes."""
        return self.folder / 'unused/metrics.json'

    def metrics(self) -> Optional[dict]:
        return json.loads(self.accuracies.read_text())


def all_runs(args: argparse.Namespace) -> List[Run]:
    """Seed by seed, so that all methods soon have one; teachers first."""
    kind = UnusedRun if args.unused else Run
    teachers = {NEEDS[m] for m in args.methods if m in NEEDS}
    runs = [kind(m, 0, args) for m in sorted(teachers)]
    runs += [
        kind(m, seed, args)
        for seed in args.seeds
        for m in args.methods
        if not (m in teachers and seed == 0)
    ]
    return runs
