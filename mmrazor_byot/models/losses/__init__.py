from .batch_teacher import BatchTeacher, batch_ensemble
from .hint_loss import HintLoss, hint_loss
from .label_loss import LabelLoss, label_loss
from .logit_loss import LogitLoss, logit_loss

__all__ = [
    'BatchTeacher', 'HintLoss', 'LabelLoss', 'LogitLoss', 'batch_ensemble',
    'hint_loss', 'label_loss', 'logit_loss'
]
