"""The networks that are compared: ours and MMRazor's, as they are trained."""

import re
from pathlib import Path
from typing import Optional

import mmrazor
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from mmrazor_byot.registry import MODELS

RECIPES = Path(__file__).resolve().parent.parent / 'configs/distill/mmcls/byot'
MMRAZOR_CONFIG = Path(mmrazor.__file__).parent / (
    '.mim/configs/distill/mmcls/byot/byot_resnet18_8xb16_cifar100.py'
)
METHODS = ('plain', 'deep-supervision', 'byot', 'mmrazor')


def build_method(name: str, depth: int = 18, exits: Optional[int] = None) -> nn.Module:
    """Build a ResNet for 100 classes with a training method.

    Args:
        name: One of ``METHODS``.
        depth: Of the ResNet; 18 for MMRazor's.
        exits: The last so many of the four; None for all that the method has. One exit is the plain
            network.

    Returns:
        nn.Module: With MMEngine's ``train_step``, in training mode.
    """
    # Initialization would log every parameter.
    MMLogger.get_instance('mmengine').setLevel('WARNING')
    init_default_scope('mmpretrain')
    if exits == 1:
        name, exits = 'plain', None
    if name == 'mmrazor':
        model = MODELS.build(mmrazor_config())
    else:
        cfg = Config.fromfile(RECIPES / f'{name}_resnet18_8xb16_tin32.py')
        cfg.model.data_preprocessor = dict(type='ClsDataPreprocessor', **cfg.data_preprocessor)
        network = cfg.model.get('architecture', cfg.model)
        network.backbone.depth = depth
        if depth > 34:  # bottleneck blocks
            network.head.in_channels = 2048
        if exits is not None:
            cfg.model.sections = range(4 - exits, 4)
        model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    return model


def mmrazor_config() -> dict:
    """Config of MMRazor's own ``SelfDistill`` BYOT, made to build.

    Its file is read from the installed package. Two things in it no longer exist and are
    replaced: the scope ``mmcls`` (now ``mmpretrain``), and with it the configs that it inherits
    from, of which the model uses none; its data preprocessor is mmpretrain's, as mmpretrain's data
    needs.
    """
    text = MMRAZOR_CONFIG.read_text()
    text = re.sub(r'_base_ = \[.*?\]\n', '', text, flags=re.S)
    text = text.replace("'mmcls.", "'mmpretrain.")
    model = Config.fromstring(text, '.py').model
    model.data_preprocessor = dict(
        type='mmpretrain.ClsDataPreprocessor',
        num_classes=100,
        mean=model.data_preprocessor.mean,
        std=model.data_preprocessor.std,
    )
    model.architecture.data_preprocessor = dict(type='mmpretrain.ClsDataPreprocessor')
    return model
