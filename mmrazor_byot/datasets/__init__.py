from .cifar import CIFAR10, CIFAR100
from .digits import Digits
from .in_memory import InMemoryDataset
from .packed_images import PackedImages

__all__ = ['CIFAR10', 'CIFAR100', 'Digits', 'InMemoryDataset', 'PackedImages']
