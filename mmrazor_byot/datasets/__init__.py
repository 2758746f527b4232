from .bgr_images import BGRImages
from .checks import check_class_names, check_data, check_range
from .cifar import CIFAR10, CIFAR100
from .collate import CollatedBatch, collate_batch, stack_images
from .digits import Digits
from .image_batches import ImageBatches
from .in_memory import InMemoryDataset
from .packed_images import PackedImages
from .settings import gives_batches, image_settings, network_order, per_image, reads_bgr

__all__ = [
    'BGRImages',
    'CIFAR10',
    'CIFAR100',
    'CollatedBatch',
    'Digits',
    'ImageBatches',
    'InMemoryDataset',
    'PackedImages',
    'check_class_names',
    'check_data',
    'check_range',
    'collate_batch',
    'gives_batches',
    'image_settings',
    'network_order',
    'per_image',
    'reads_bgr',
    'stack_images',
]
