from .hint_loss import HintLoss, hint_loss
from .label_loss import LabelLoss, label_loss
from .logit_loss import LogitLoss, logit_loss

__all__ = ['HintLoss', 'LabelLoss', 'LogitLoss', 'hint_loss', 'label_loss', 'logit_loss']
