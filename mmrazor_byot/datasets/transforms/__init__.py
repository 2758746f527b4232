"""Random augmentations of whole batches, on the device of the images."""

from .auto_augment import BatchAutoAugment, BatchRandAugment
from .base import BatchCompose, BatchTransform
from .crop_flip import BatchRandomCrop, BatchRandomFlip
from .cutout import BatchCutout
from .mix import BatchCutMix, BatchMixChoice, BatchMixup

__all__ = [
    'BatchAutoAugment',
    'BatchCompose',
    'BatchCutMix',
    'BatchCutout',
    'BatchMixChoice',
    'BatchMixup',
    'BatchRandAugment',
    'BatchRandomCrop',
    'BatchRandomFlip',
    'BatchTransform',
]
