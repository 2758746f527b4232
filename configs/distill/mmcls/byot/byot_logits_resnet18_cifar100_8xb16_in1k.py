# BYOT of ResNet-18 on CIFAR-100, under the name in MMRazor's documentation. It
# does not use ImageNet.
_base_ = [
    '../../../_base_/models/byot_resnet18_cifar.py',
    '../../../_base_/datasets/cifar100_bs16.py',
    '../../../_base_/schedules/cifar_250e.py',
    '../../../_base_/default_runtime.py'
]
