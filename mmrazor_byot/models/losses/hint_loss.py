"""Loss source 3 of the paper: the deepest exit's feature (section 3.2)."""
import torch
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS

from .weight import checked_weight

REDUCTIONS = ('mean', 'mmrazor')


def hint_loss(feature: Tensor,
              teacher_feature: Tensor,
              reduction: str = 'mean') -> Tensor:
    r"""Squared L2 distance to the teacher's feature.

    .. math:: \frac{1}{N} \sum_n \| F_i^{(n)} - F_C^{(n)} \|_2^2

    Args:
        feature (Tensor): Feature :math:`F_i` of an exit, (N, D).
        teacher_feature (Tensor): Feature :math:`F_C` of the teacher, (N, D).
            The caller detaches it.
        reduction (str): ``'mean'`` is the formula above. Being a mean over
            samples, it is the same recipe on 8 GPUs x 16 and on 1 x 128.
            ``'mmrazor'`` is MMRazor's ``L2Loss(dist=True)``, the norm of the
            whole batch, neither squared nor averaged, so its strength depends
            on the batch of each GPU.

    Returns:
        Tensor: A scalar.
    """
    difference = feature - teacher_feature
    if difference.dtype in (torch.float16, torch.bfloat16):
        difference = difference.float()  # squares overflow half precision
    if reduction == 'mmrazor':
        return torch.linalg.vector_norm(difference)
    return difference.square().flatten(1).sum(dim=1).mean()


@MODELS.register_module()
class HintLoss(nn.Module):
    """:func:`hint_loss` with a weight, ``lambda`` in the paper.

    Any module called as ``loss(feature, teacher_feature)`` can take its
    place, ``mmrazor.L2Loss`` for example.

    Args:
        loss_weight (float): Not negative. Defaults to 1.0.
        reduction (str): ``'mean'`` or ``'mmrazor'``. Defaults to ``'mean'``.

    Raises:
        ConfigError: The weight is negative, or the reduction unknown.
    """

    def __init__(self,
                 loss_weight: float = 1.0,
                 reduction: str = 'mean') -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ConfigError(f'HintLoss(reduction={reduction!r}): choose '
                              f'from {REDUCTIONS}')
        self.reduction = reduction
        self.loss_weight = checked_weight(self, loss_weight)

    def forward(self, feature: Tensor, teacher_feature: Tensor) -> Tensor:
        """The weighted loss of feature and teacher feature (N, D)."""
        return self.loss_weight * hint_loss(feature, teacher_feature,
                                            self.reduction)
