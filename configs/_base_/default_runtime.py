_base_ = 'mmpretrain::_base_/default_runtime.py'

# Written whole or not at all; the last checkpoint is what the README reports.
default_hooks = dict(
    checkpoint=dict(
        interval=10, max_keep_ckpts=2, backend_args=dict(backend='atomic')),
    # A GPU is waited for when the log is printed, not in each iteration.
    runtime_info=dict(type='mmrazor_byot.RuntimeInfoHook'))

custom_hooks = [
    dict(type='mmrazor_byot.ChannelsLastHook'),  # channels_last = True
    dict(type='mmrazor_byot.CheckpointCheckHook'),
    dict(type='mmrazor_byot.CompileHook'),  # compile = True
    dict(type='mmrazor_byot.EpochSeedHook'),
    dict(type='mmrazor_byot.ExitTableHook'),
    dict(type='mmrazor_byot.FiniteLossHook', interval=100),
    dict(type='mmrazor_byot.LabelCheckHook'),
    # What is tested is what is saved: processes agree on batch norm.
    dict(type='SyncBuffersHook'),
]
