"""The losses of :mod:`mmrazor_byot.exits`, for configs."""

from mmrazor_byot.exits import HintLoss, LabelLoss, LogitLoss
from mmrazor_byot.registry import MODELS

__all__ = ['HintLoss', 'LabelLoss', 'LogitLoss']

for loss in (HintLoss, LabelLoss, LogitLoss):
    MODELS.register_module(module=loss)
