_base_ = 'mmpretrain::_base_/default_runtime.py'

default_hooks = dict(
    # Also saves the last epoch, however a run ends.
    checkpoint=dict(
        type='mmrazor_byot.ResumableCheckpointHook',
        interval=10,
        max_keep_ckpts=2),
    # Synchronizes with the GPU only when the log is printed.
    runtime_info=dict(type='mmrazor_byot.RuntimeInfoHook'))

custom_hooks = [
    dict(type='mmrazor_byot.ChannelsLastHook'),  # channels_last = True
    dict(type='mmrazor_byot.CheckpointCheckHook'),
    dict(type='mmrazor_byot.CompileHook'),  # compile = True
    dict(type='mmrazor_byot.EpochSeedHook'),
    dict(type='mmrazor_byot.ExitTableHook'),
    dict(type='mmrazor_byot.FiniteLossHook', interval=100),
    dict(type='mmrazor_byot.LabelCheckHook'),
    # All processes test and save the same batch norm statistics.
    dict(type='SyncBuffersHook'),
]
