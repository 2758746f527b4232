# 101 layers of bottlenecks with alpha 240, see PyramidNet_CIFAR. It has three
# stages and so three sections; the paper's table has four exits.
_base_ = './byot_resnet18_8xb16_cifar100.py'

model = dict(
    architecture=dict(
        backbone=dict(
            _delete_=True,
            type='mmrazor_byot.PyramidNet_CIFAR',
            depth=101,
            alpha=240,
            bottleneck=True)),
    sections=(0, 1, 2))
