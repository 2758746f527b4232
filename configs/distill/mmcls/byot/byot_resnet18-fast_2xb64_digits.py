# byot_resnet18_2xb64_digits.py, its data in whole batches.
_base_ = [
    '../../../_base_/models/byot_resnet18-narrow.py',
    '../../../_base_/datasets/digits-fast_bs64.py',
    '../../../_base_/schedules/digits_60e.py',
    '../../../_base_/default_runtime.py'
]

default_hooks = dict(logger=dict(interval=10))
randomness = dict(seed=0)
