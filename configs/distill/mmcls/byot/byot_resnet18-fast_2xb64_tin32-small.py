# byot_resnet18_2xb64_tin32-small.py with batched data.
_base_ = [
    '../../../_base_/models/byot_resnet18_cifar.py',
    '../../../_base_/datasets/tin32-small-fast_bs64.py',
    '../../../_base_/schedules/onecycle_60e.py',
    '../../../_base_/default_runtime.py'
]

model = dict(
    architecture=dict(
        backbone=dict(stem_channels=16, base_channels=16),
        head=dict(num_classes=20)))
