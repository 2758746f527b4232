_base_ = './byot_resnet18_8xb32_in1k.py'

model = dict(architecture=dict(backbone=dict(depth=50)))
