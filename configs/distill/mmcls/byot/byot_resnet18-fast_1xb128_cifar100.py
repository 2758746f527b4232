# byot_resnet18_8xb16_cifar100.py on one GPU, with batched data.
_base_ = [
    '../../../_base_/models/byot_resnet18_cifar.py',
    '../../../_base_/datasets/cifar100-fast_bs128.py',
    '../../../_base_/schedules/cifar_250e.py',
    '../../../_base_/default_runtime.py'
]

channels_last = True  # faster convolutions on CPU and GPU
