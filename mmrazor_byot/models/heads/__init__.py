from .cls_heads import BatchLinearClsHead, ExitClsHead
from .exit_heads import BottleneckHead, PooledHead, StridedHead, complete_exit_head

__all__ = [
    'BatchLinearClsHead',
    'BottleneckHead',
    'ExitClsHead',
    'PooledHead',
    'StridedHead',
    'complete_exit_head',
]
