# The five stages of convolutions as four sections, as on CIFAR-100. The
# classifier is average pooling and one linear layer: the exits need a feature
# map and a pooled feature, so VGG's three fully connected layers (124 M
# params) are removed.
_base_ = './byot_resnet18_8xb32_in1k.py'

model = dict(
    architecture=dict(
        backbone=dict(
            _delete_=True, type='VGG', depth=19, norm_cfg=dict(type='BN'))),
    sections=(1, 2, 3, 4))
