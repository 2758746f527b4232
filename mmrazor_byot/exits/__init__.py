"""Be Your Own Teacher in plain torch (arXiv 1905.08094): exits, their losses and their heads.

It imports torch alone. The algorithm for configs is :class:`mmrazor_byot.models.BYOT`.
"""

from .heads import BottleneckHead, PooledHead, StridedHead
from .kept_maps import KeptMaps, keep_maps
from .losses import HintLoss, LabelLoss, LogitLoss, hint_loss, logit_loss
from .method import ExitOutput, SectionOutput, exit_losses, forward_exits
from .network import ExitNetwork, add_exits
from .train import train_exits

__all__ = [
    'BottleneckHead',
    'ExitNetwork',
    'ExitOutput',
    'HintLoss',
    'KeptMaps',
    'LabelLoss',
    'LogitLoss',
    'PooledHead',
    'SectionOutput',
    'StridedHead',
    'add_exits',
    'exit_losses',
    'forward_exits',
    'hint_loss',
    'keep_maps',
    'logit_loss',
    'train_exits',
]
