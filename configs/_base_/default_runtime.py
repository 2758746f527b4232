_base_ = 'mmpretrain::_base_/default_runtime.py'

# Written whole or not at all; the last checkpoint is what the README reports.
default_hooks = dict(
    checkpoint=dict(
        interval=10, max_keep_ckpts=2, backend_args=dict(backend='atomic')))

custom_hooks = [
    dict(type='mmrazor_byot.CheckpointCheckHook'),
    dict(type='mmrazor_byot.EpochSeedHook'),
    dict(type='mmrazor_byot.ExitTableHook'),
    dict(type='mmrazor_byot.FiniteLossHook'),
    dict(type='mmrazor_byot.LabelCheckHook'),
    # What is tested is what is saved: processes agree on batch norm.
    dict(type='SyncBuffersHook'),
]
