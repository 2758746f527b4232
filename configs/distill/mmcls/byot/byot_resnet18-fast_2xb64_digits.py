# byot_resnet18_2xb64_digits.py with batched data.
_base_ = [
    '../../../_base_/models/byot_resnet18_cifar.py',
    '../../../_base_/datasets/digits-fast_bs64.py',
    '../../../_base_/schedules/digits_60e.py',
    '../../../_base_/default_runtime.py'
]

# An eighth of the channels: trains in minutes on two CPU cores.
model = dict(
    architecture=dict(
        backbone=dict(stem_channels=8, base_channels=8),
        head=dict(num_classes=10)))
default_hooks = dict(logger=dict(interval=10))
randomness = dict(seed=0)
