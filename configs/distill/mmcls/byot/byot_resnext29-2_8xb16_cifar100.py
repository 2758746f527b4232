# ResNeXt-29 2x64d, see ResNeXt_CIFAR. It has three stages and so three
# sections; the paper's table has four exits.
_base_ = './byot_resnet18_8xb16_cifar100.py'

model = dict(
    architecture=dict(
        backbone=dict(
            _delete_=True,
            type='mmrazor_byot.ResNeXt_CIFAR',
            depth=29,
            groups=2,
            width_per_group=64)),
    sections=(0, 1, 2))
