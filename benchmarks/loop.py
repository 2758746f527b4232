"""What the training loop costs an iteration, around a step of next to nothing.

The network has four 1 x 1 convolutions and ten losses; what remains is the Runner: hooks, message
hub, data samples, the sum of the losses. Microseconds, for MMEngine's default hooks and for ours,
in turn.

    python benchmarks/loop.py --history 50000
"""

import argparse
import statistics
import tempfile
import time
from collections import Counter

import numpy as np
import torch
from machine import RESULTS, describe_machine, save_result
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from peers import RECIPES
from synthetic import RandomImages  # noqa: F401  registers it
from torch import nn

from mmrazor_byot.registry import MODELS
from mmrazor_byot.table import format_table

VARIANTS = {
    'MMEngine': 'its hooks, and its sum of the losses',
    'ours': 'default_runtime.py',
    'ours, batched data': 'and ImageBatches instead of data samples',
}
RECIPE = RECIPES / 'byot_resnet18-fast_1xb128_cifar100.py'


@MODELS.register_module()
class FourConvolutions(nn.Module):
    """Four sections of one 1 x 1 convolution each."""

    out_indices = (0, 1, 2, 3)

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 4, 4, 4, 4)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(widths, widths[1:]))

    def forward(self, x: torch.Tensor) -> tuple:
        maps = []
        for conv in self.convs:
            x = conv(x)
            maps.append(x)
        return tuple(maps)


@MODELS.register_module()
class PooledLinear(nn.Module):
    """An exit head: mean over the image, and a linear layer."""

    def __init__(self, in_channels, num_classes, **kwargs) -> None:
        super().__init__()
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x: torch.Tensor) -> tuple:
        feature = x.mean((2, 3))
        return feature, self.fc(feature)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--iterations', type=int, default=300)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument(
        '--history',
        type=int,
        default=0,
        help='iterations that have gone before, as late in a long run',
    )
    parser.add_argument('--name', default='loop', help='of the result file')
    parser.add_argument('--out', default=RESULTS, help='folder for it')
    return parser.parse_args()


class Stopwatch:
    """Adds up what the calls of some methods take, without their callees."""

    def __init__(self) -> None:
        self.seconds = Counter()
        self._inner = [0.0]

    def on(self, owner, method: str, label: str) -> None:
        """Time a method of one object.

        Args:
            owner: Of the method.
            method: Its name.
            label: What it is counted as.
        """
        function = getattr(owner, method)

        def timed(*args, **kwargs):
            start = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                seconds = time.perf_counter() - start
                self.seconds[label] += seconds - self._inner.pop()
                self._inner[-1] += seconds

        setattr(owner, method, timed)


def recipe(variant: str, args: argparse.Namespace, folder: str) -> Config:
    """The config of a variant: one long epoch."""
    cfg = Config.fromfile(RECIPE)
    images = dict(
        type='mmrazor_byot.RandomImages', size=8, classes=10, count=args.batch * args.iterations
    )
    pipeline = [dict(type='PackInputs')]
    whole = variant == 'ours, batched data'
    cfg.train_dataloader.batch_size = args.batch
    cfg.train_dataloader.dataset = (
        dict(type='mmrazor_byot.ImageBatches', dataset=images)
        if whole
        else dict(images, pipeline=pipeline)
    )
    cfg.data_preprocessor.num_classes = 10
    cfg.data_preprocessor.transforms = []
    if not whole:
        cfg.train_dataloader.collate_fn = dict(type='default_collate')
        cfg.data_preprocessor.pop('type')
        cfg.data_preprocessor.pop('transforms')
    architecture = cfg.model.architecture
    architecture.backbone = dict(type='mmrazor_byot.FourConvolutions')
    architecture.head.update(num_classes=10, in_channels=4)
    cfg.model.update(exit_head=dict(type='mmrazor_byot.PooledLinear'), input_size=8)
    cfg.train_cfg.max_epochs = args.rounds + 1
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint = None
    if variant == 'MMEngine':
        cfg.default_hooks.runtime_info = dict(type='RuntimeInfoHook')
        cfg.custom_hooks = []
    cfg.work_dir, cfg.log_level = folder, 'WARNING'
    return cfg


def put_clocks(runner, watch: Stopwatch) -> None:
    """Time the parts of an iteration."""
    for hook in runner.hooks:
        for place in ('before_train_iter', 'after_train_iter'):
            watch.on(hook, place, type(hook).__name__)
    model = runner.model
    watch.on(runner.message_hub, 'update_scalar', 'message hub: update')
    watch.on(runner.log_processor, 'get_log_after_iter', 'log line')
    watch.on(model, 'train_step', 'train_step, the rest')
    watch.on(model.data_preprocessor, 'forward', 'data preprocessor')
    watch.on(model, 'loss', 'network and losses')
    watch.on(model, 'parse_losses', 'parse_losses')
    watch.on(runner.optim_wrapper, 'update_params', 'backward and SGD')
    watch.on(runner, 'call_hook', 'call_hook')


class Rounds(Hook):
    """An epoch is a round; the first does not count."""

    def __init__(self, history: int) -> None:
        self.history = history
        self.watch = Stopwatch()
        self.rows = []

    def before_train_epoch(self, runner) -> None:
        if runner.epoch == 1:
            put_clocks(runner, self.watch)
            _lengthen(runner.message_hub.log_scalars, self.history)
        self.watch.seconds.clear()
        self._start = time.perf_counter()

    def after_train_epoch(self, runner) -> None:
        if runner.epoch:
            count = len(runner.train_dataloader)
            total = time.perf_counter() - self._start
            row = {k: v / count * 1e6 for k, v in self.watch.seconds.items()}
            row['data loader'] = total / count * 1e6 - sum(row.values())
            row['all'] = total / count * 1e6
            self.rows.append(row)


def _lengthen(histories: dict, count: int) -> None:
    """Histories as they are after so many iterations."""
    for name in histories if count else ():
        histories[name] = HistoryBuffer(np.ones(count), np.ones(count, int))


def measure(variant: str, args: argparse.Namespace) -> dict:
    """Microseconds of each part of an iteration."""
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner.from_cfg(recipe(variant, args, folder))
        if variant == 'MMEngine':
            runner.model.parse_losses = BaseModel.parse_losses.__get__(runner.model)
        rounds = Rounds(args.history)
        runner.register_hook(rounds, 'HIGHEST')
        runner.train()
    return {
        name: statistics.median(row.get(name, 0.0) for row in rounds.rows)
        for name in rounds.rows[0]
    }


def main() -> None:
    args = parse_args()
    rows = {variant: measure(variant, args) for variant in VARIANTS}
    machine = describe_machine('cuda' if torch.cuda.is_available() else 'cpu')
    print(
        f'{machine["gpu"] or machine["processor"]}, {machine["threads"]} threads, torch '
        f'{machine["torch"]}; batch {args.batch}, after {args.history} iterations; microseconds '
        'an iteration'
    )
    parts = sorted({part for row in rows.values() for part in row} - {'all'})
    lines = [['', *rows]]
    for part in [*parts, 'all']:
        lines.append([part, *(f'{r[part]:.1f}' if part in r else '' for r in rows.values())])
    print(format_table(lines, markdown=True))
    path = save_result(
        args.name,
        dict(machine=machine, batch=args.batch, history=args.history, variants=VARIANTS, rows=rows),
        args.out,
    )
    print(f'written to {path}')


if __name__ == '__main__':
    main()
