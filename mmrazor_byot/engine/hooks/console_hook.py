"""What a run shows on the console; all else is in its log file."""

import os
import sys
import time
from datetime import timedelta
from typing import Any, Dict, List, Optional

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrazor_byot.evaluation import format_exit_table
from mmrazor_byot.registry import HOOKS

from .exit_table_hook import ExitTableHook
from .utils import is_training, unwrap

#: Seconds between two lines of progress on a terminal, and in a file.
TERMINAL_S, FILE_S = 0.2, 30


@HOOKS.register_module()
class ConsoleHook(Hook):
    """What is trained and where to, progress with the time left, a row of accuracies, a table.

    With it as ``default_hooks.console`` of a config, MMEngine's log goes to its file alone, see
    :mod:`mmrazor_byot.compat`.
    """

    priority = 'LOWEST'  # after ExitTableHook, whose rows it shows

    def __init__(self) -> None:
        self._shown = time.monotonic()
        self._columns: List[str] = []
        self._described = False

    def before_train(self, runner: Runner) -> None:
        """Say what is trained, on what, and where it writes."""
        self._describe(runner)

    def before_val(self, runner: Runner) -> None:
        """The same, if an epoch is validated before training is resumed."""
        if is_training(runner):
            self._describe(runner)

    def _describe(self, runner: Runner) -> None:
        if self._described:
            return
        self._described = True
        model = unwrap(runner.model)
        network = getattr(model, 'architecture', model)
        exits = getattr(model, 'num_exits', 1)
        parameters = sum(p.numel() for p in model.parameters()) / 1e6
        loader = runner.train_dataloader
        _show(
            f'{type(model).__name__}: {type(getattr(network, "backbone", network)).__name__}, '
            f'{exits} exit{"s" * (exits > 1)}, {parameters:.3g} M parameters'
        )
        batch = getattr(loader, 'batch_size', None)
        _show(
            f'{_name(loader)}: {len(loader.dataset)} training images in batches of '
            f'{get_world_size()} x {batch}, epochs {runner.epoch + 1} to {runner.max_epochs}'
        )
        _show(f'log: {runner.log_dir}')
        for hook in runner.hooks:
            for line in getattr(hook, 'resumed', []):
                _show(line)

    def before_test(self, runner: Runner) -> None:
        """Say what is tested."""
        _show(f'{_name(runner.test_dataloader)}: {len(runner.test_dataloader.dataset)} images')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Show how far it is, now and then; no loss is read for it."""
        self._progress(
            runner,
            f'epoch {runner.epoch + 1}/{runner.max_epochs}, iteration {batch_idx + 1}/'
            f'{len(runner.train_dataloader)}',
        )

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Show how far it is."""
        self._progress(runner, f'batch {batch_idx + 1}/{len(runner.test_dataloader)}')

    def after_val_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        """A row of the exits' accuracy."""
        top1 = {name: value for name, value in (metrics or {}).items() if name.endswith('/top1')}
        if len(top1) > 1:  # the deepest exit's comes again under its usual name
            top1.pop('accuracy/top1', None)
        if not self._columns:
            self._columns = [name.split('/')[0] for name in top1]
            _show(f'{"top-1 (%)":<14}' + ''.join(f'{name:>10}' for name in self._columns))
        epoch = f'epoch {runner.epoch}/{runner.max_epochs}'
        _show(f'{epoch:<14}' + ''.join(f'{value:>10.2f}' for value in top1.values()))

    def after_train(self, runner: Runner) -> None:
        """The table, the checkpoint, and what to do with it."""
        self._table(runner)
        checkpoint = runner.message_hub.runtime_info.get('last_ckpt')
        if checkpoint:
            _show(f'checkpoint: {checkpoint}')
            if runner.cfg.filename:
                config = os.path.relpath(runner.cfg.filename)
                config = runner.cfg.filename if config.startswith('..') else config
                _show(f'test it: python tools/test.py {config} {checkpoint}')

    def after_test_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        """The table."""
        self._table(runner)

    def _table(self, runner: Runner) -> None:
        for hook in runner.hooks:
            if isinstance(hook, ExitTableHook) and hook.rows:
                _show(f'\n{format_exit_table(hook.rows)}\n')

    def _progress(self, runner: Runner, where: str) -> None:
        terminal = sys.stdout.isatty()
        now = time.monotonic()
        if now - self._shown < (TERMINAL_S if terminal else FILE_S):
            return
        self._shown = now
        left = timedelta(seconds=round(runner.message_hub.runtime_info.get('eta', 0)))
        _show(f'{where}, {left} left', end='\r' if terminal else '\n')


def _name(loader: Any) -> str:
    """Name of the data set that has the images."""
    dataset = loader.dataset
    return getattr(dataset, 'source_name', type(dataset).__name__)


def _show(text: str, end: str = '\n') -> None:
    if is_main_process():
        clear = '\x1b[2K' if sys.stdout.isatty() else ''  # of a line of progress
        print(f'{clear}{text}', end=end, flush=True)
