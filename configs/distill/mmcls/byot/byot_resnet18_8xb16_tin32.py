_base_ = [
    '../../../_base_/models/byot_resnet18_cifar.py',
    '../../../_base_/datasets/tin32_bs16.py',
    '../../../_base_/schedules/cifar_250e.py',
    '../../../_base_/default_runtime.py'
]
