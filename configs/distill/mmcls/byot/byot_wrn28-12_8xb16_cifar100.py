# WRN-28-12 with the depth of the Wide ResNet paper; three sections as WRN20-8.
_base_ = './byot_wrn20-8_8xb16_cifar100.py'

model = dict(architecture=dict(backbone=dict(depth=28, widen_factor=12)))
