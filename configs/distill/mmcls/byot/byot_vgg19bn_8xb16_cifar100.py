# The five stages of convolutions as four sections: the first has two stages, so
# that exit 1/4 gets more than 64 channels. After the last pooling the feature
# map of a 32 x 32 image is 1 x 1, so the classifier is one linear layer without
# the 4,096-wide ones, which are made for 224 x 224.
_base_ = './byot_resnet18_8xb16_cifar100.py'

model = dict(
    architecture=dict(
        backbone=dict(
            _delete_=True, type='VGG', depth=19, norm_cfg=dict(type='BN'))),
    sections=(1, 2, 3, 4))
