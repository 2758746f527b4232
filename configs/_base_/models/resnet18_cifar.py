# A plain ResNet-18 with the CIFAR stem: the same network without exits.
_base_ = 'mmpretrain::_base_/models/resnet18_cifar.py'

model = dict(head=dict(num_classes=100))
