_base_ = 'mmpretrain::_base_/default_runtime.py'

# Also for Runner.from_cfg: MMEngine imports it before anything is built.
custom_imports = dict(imports=['mmrazor_byot'])

default_hooks = dict(
    # Also saves the last epoch, however a run ends.
    checkpoint=dict(
        type='mmrazor_byot.ResumableCheckpointHook',
        interval=10,
        max_keep_ckpts=2),
    # Shows a few lines and the progress; MMEngine's log is in its file.
    console=dict(type='mmrazor_byot.ConsoleHook'),
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
