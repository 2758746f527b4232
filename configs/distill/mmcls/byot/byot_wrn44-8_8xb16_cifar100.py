# WRN20-8 with seven instead of three blocks per stage.
_base_ = './byot_wrn20-8_8xb16_cifar100.py'

model = dict(architecture=dict(backbone=dict(depth=44)))
