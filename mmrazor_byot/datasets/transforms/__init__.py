"""Random augmentations of batches, on the device of the images."""

from .auto_augment import BatchAutoAugment, BatchRandAugment
from .base import BatchCompose, BatchTransform
from .crop_flip import BatchRandomCrop, BatchRandomFlip
from .cutout import BatchCutout

__all__ = [
    'BatchAutoAugment',
    'BatchCompose',
    'BatchCutout',
    'BatchRandAugment',
    'BatchRandomCrop',
    'BatchRandomFlip',
    'BatchTransform',
]
