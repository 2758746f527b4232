from .bottleneck_head import BottleneckHead
from .build import build_exit_head

__all__ = ['BottleneckHead', 'build_exit_head']
