"""Random augmentations of whole batches, on the device of the images."""

from .base import BatchTransform
from .compose import BatchCompose
from .crop import BatchRandomCrop
from .cutout import BatchCutout
from .flip import BatchRandomFlip
from .mix import BatchCutMix, BatchMixChoice, BatchMixup
from .policies import BatchAutoAugment, BatchRandAugment

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
