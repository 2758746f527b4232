"""Logs a table of all exits, and writes it next to the log."""

import json
import os
from typing import Dict, List, Optional, Sequence, Union

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrazor_byot.evaluation import exit_complexity, exit_rows, format_exit_table
from mmrazor_byot.exits.shapes import image_size
from mmrazor_byot.files import write_text
from mmrazor_byot.registry import HOOKS

from .utils import unwrap


@HOOKS.register_module()
class ExitTableHook(Hook):
    """Reports accuracy, params and MACs of all exits after a test, or after training.

    After training, the accuracy is that of the last validation. The table is logged, and written to
    ``exits.json`` in the folder of the log.

    Args:
        input_size (int | Sequence[int], optional): Size of the images for MACs: S, (H, W) or
            (C, H, W). Defaults to the model's, or 32.
    """

    priority = 'VERY_LOW'

    def __init__(self, input_size: Optional[Union[int, Sequence[int]]] = None):
        self.input_size = input_size
        self._metrics: Optional[Dict[str, float]] = None
        #: What was reported last, see :func:`~mmrazor_byot.evaluation.exit_rows`.
        self.rows: List[dict] = []

    def after_val_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        self._metrics = metrics

    def after_train(self, runner: Runner) -> None:
        if self._metrics:
            self._report(runner, self._metrics)

    def after_test_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        self._report(runner, metrics or {})

    def _report(self, runner: Runner, metrics: Dict[str, float]) -> None:
        if not is_main_process():
            return
        model = unwrap(runner.model)
        size = getattr(model, 'input_size', 32) if self.input_size is None else self.input_size
        self.rows = exit_rows(exit_complexity(model, image_size(size)), metrics)
        path = os.path.join(runner.log_dir, 'exits.json')
        write_text(path, json.dumps(self.rows, indent=2) + '\n')
        runner.logger.info(f'All exits (also in {path}):\n{format_exit_table(self.rows)}')
