from .batch_linear_cls_head import BatchLinearClsHead
from .bottleneck_head import BottleneckHead
from .build import build_exit_head, complete_exit_head
from .exit_cls_head import ExitClsHead
from .pooled_head import PooledHead
from .strided_head import StridedHead

__all__ = [
    'BatchLinearClsHead',
    'BottleneckHead',
    'ExitClsHead',
    'PooledHead',
    'StridedHead',
    'build_exit_head',
    'complete_exit_head',
]
