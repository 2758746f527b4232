"""Small trained networks to export."""

import torch
from mmengine.config import Config

from mmrazor_byot.registry import MODELS

BACKBONES = {
    'resnet': dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4),
    'wrn': dict(
        type='mmrazor_byot.WideResNet_CIFAR', depth=16, widen_factor=1, out_indices=(0, 1, 2)
    ),
    'vgg': dict(type='VGG', depth=11, norm_cfg=dict(type='BN'), out_indices=(2, 3, 4)),
    'mmrazor': dict(
        type='mmrazor_byot.MidBlockResNet_CIFAR', depth=18, base_channels=4, stem_channels=4
    ),
}


def write_config(path, backbone, **settings):
    model = dict(
        type='mmrazor_byot.BYOT',
        architecture=dict(
            type='ImageClassifier',
            backbone=backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=5, in_channels=None),
        ),
        data_preprocessor=dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0]),
        **settings,
    )
    path.write_text(Config(dict(model=model)).pretty_text)
    return Config.fromfile(path)


def save_weights(cfg, path):
    """A model with weights as if trained, and the file they are in."""
    model = MODELS.build(cfg.model)
    for name, value in model.state_dict().items():
        if name.endswith('running_var'):
            value.uniform_(0.5, 2)
        elif name.endswith('running_mean'):
            value.normal_()
    meta = dict(epoch=3, dataset_meta=dict(classes=list('abcde')))
    torch.save(dict(state_dict=model.state_dict(), optimizer={}, meta=meta), path)
    model.eval()
    return model, str(path)


def logits(model, images):
    model.eval()
    with torch.no_grad():
        return model(images)
