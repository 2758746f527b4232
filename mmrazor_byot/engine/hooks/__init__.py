from .checkpoint_check_hook import CheckpointCheckHook
from .epoch_seed_hook import EpochSeedHook, seed_worker
from .exit_table_hook import ExitTableHook
from .finite_loss_hook import FiniteLossHook
from .label_check_hook import LabelCheckHook

__all__ = [
    'CheckpointCheckHook', 'EpochSeedHook', 'ExitTableHook', 'FiniteLossHook',
    'LabelCheckHook', 'seed_worker'
]
