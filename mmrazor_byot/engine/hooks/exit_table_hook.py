"""Prints the table of all exits, and writes it beside the log."""

import json
import os
from typing import Dict, List, Optional, Sequence, Union

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmrazor_byot.evaluation import exit_complexity, exit_rows, format_exit_table
from mmrazor_byot.files import write_text
from mmrazor_byot.models.sections import image_size
from mmrazor_byot.registry import HOOKS

from .utils import unwrap


@HOOKS.register_module()
class ExitTableHook(Hook):
    """Accuracy, params and FLOPs of every exit, at the end of a run.

    After a test, and after training from its last validation. The table is logged, and written as
    ``exits.json`` into the folder of the log.

    Args:
        input_size (int | Sequence[int], optional): Size of the images for FLOPs: S, (H, W) or (C,
            H, W). Defaults to the model's, or 32.
    """

    priority = 'VERY_LOW'

    def __init__(self, input_size: Optional[Union[int, Sequence[int]]] = None):
        self.input_size = input_size
        self._metrics: Optional[Dict[str, float]] = None
        #: What was reported last, see :func:`~mmrazor_byot.evaluation.exit_rows`.
        self.rows: List[dict] = []

    def after_val_epoch(self, runner, metrics=None) -> None:
        """Keep what was measured last."""
        self._metrics = metrics

    def after_train(self, runner) -> None:
        """Report the last validation."""
        if self._metrics:
            self._report(runner, self._metrics)

    def after_test_epoch(self, runner, metrics=None) -> None:
        """Report the test."""
        self._report(runner, metrics)

    def _report(self, runner, metrics: Dict[str, float]) -> None:
        if not is_main_process():
            return
        model = unwrap(runner.model)
        size = self.input_size or getattr(model, 'input_size', 32)
        self.rows = exit_rows(exit_complexity(model, image_size(size)), metrics)
        path = os.path.join(runner.log_dir, 'exits.json')
        write_text(path, json.dumps(self.rows, indent=2) + '\n')
        runner.logger.info(f'All exits (also in {path}):\n{format_exit_table(self.rows)}')
