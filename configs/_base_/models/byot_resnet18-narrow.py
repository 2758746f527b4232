# An eighth of ResNet-18's channels: trains in minutes on two CPU cores.
_base_ = './byot_resnet18_cifar.py'

model = dict(
    architecture=dict(
        backbone=dict(stem_channels=8, base_channels=8),
        head=dict(num_classes=10)))
