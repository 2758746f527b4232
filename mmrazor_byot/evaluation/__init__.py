from .batch_evaluator import BatchEvaluator
from .complexity import exit_complexity, stage_flops
from .exit_accuracy import ExitAccuracy
from .exit_table import exit_rows, format_exit_table

__all__ = [
    'BatchEvaluator',
    'ExitAccuracy',
    'exit_complexity',
    'exit_rows',
    'format_exit_table',
    'stage_flops',
]
