"""Backbones for 32 x 32 images that mmpretrain does not have."""

from .cut_backbone import CutBackbone, find_unused_modules
from .mid_block_resnet import MidBlockResNet_CIFAR
from .pyramidnet import PyramidNet_CIFAR
from .resnext_cifar import ResNeXt_CIFAR
from .wide_resnet import WideResNet_CIFAR

__all__ = [
    'CutBackbone',
    'MidBlockResNet_CIFAR',
    'PyramidNet_CIFAR',
    'ResNeXt_CIFAR',
    'WideResNet_CIFAR',
    'find_unused_modules',
]
