from .channels_last_hook import ChannelsLastHook
from .checkpoint_check_hook import CheckpointCheckHook
from .checkpoint_hook import ResumableCheckpointHook
from .compile_hook import CompileHook
from .console_hook import ConsoleHook
from .epoch_seed_hook import EpochSeedHook, seed_worker
from .exit_table_hook import ExitTableHook
from .finite_loss_hook import FiniteLossHook
from .keep_maps_hook import KeepMapsHook
from .label_check_hook import LabelCheckHook
from .runtime_info_hook import RuntimeInfoHook

__all__ = [
    'ChannelsLastHook',
    'CheckpointCheckHook',
    'CompileHook',
    'ConsoleHook',
    'EpochSeedHook',
    'ExitTableHook',
    'FiniteLossHook',
    'KeepMapsHook',
    'LabelCheckHook',
    'ResumableCheckpointHook',
    'RuntimeInfoHook',
    'seed_worker',
]
