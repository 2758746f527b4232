# See WideResNet_CIFAR for the meaning of depth 20. It has three stages and so
# three sections; the paper's table has four exits.
_base_ = './byot_resnet18_8xb16_cifar100.py'

model = dict(
    architecture=dict(
        backbone=dict(
            _delete_=True,
            type='mmrazor_byot.WideResNet_CIFAR',
            depth=20,
            widen_factor=8)),
    sections=(0, 1, 2))
