"""Backbones for 32 x 32 images that mmpretrain does not have."""
from .pyramidnet import PyramidNet_CIFAR
from .resnext_cifar import ResNeXt_CIFAR
from .wide_resnet import WideResNet_CIFAR

__all__ = ['PyramidNet_CIFAR', 'ResNeXt_CIFAR', 'WideResNet_CIFAR']
