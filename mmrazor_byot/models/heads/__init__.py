from .bottleneck_head import BottleneckHead
from .build import build_exit_head, complete_exit_head
from .exit_cls_head import ExitClsHead
from .strided_head import StridedHead

__all__ = [
    'BottleneckHead', 'ExitClsHead', 'StridedHead', 'build_exit_head',
    'complete_exit_head'
]
