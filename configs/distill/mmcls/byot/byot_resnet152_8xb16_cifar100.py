_base_ = './byot_resnet18_8xb16_cifar100.py'

model = dict(architecture=dict(backbone=dict(depth=152)))
