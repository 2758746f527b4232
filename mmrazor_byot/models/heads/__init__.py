from mmrazor_byot.exits import BottleneckHead, PooledHead, StridedHead

from .cls_heads import BatchLinearClsHead, ExitClsHead
from .exit_heads import complete_exit_head

__all__ = [
    'BatchLinearClsHead',
    'BottleneckHead',
    'ExitClsHead',
    'PooledHead',
    'StridedHead',
    'complete_exit_head',
]
