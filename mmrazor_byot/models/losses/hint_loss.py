"""Loss source 3 of the paper: the deepest exit's feature (section 3.2)."""

import torch
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS

from .precision import full_precision
from .weight import checked_weight

REDUCTIONS = ('mean', 'mmrazor', 'mmrazor_broadcast')


def hint_loss(feature: Tensor, teacher_feature: Tensor, reduction: str = 'mean') -> Tensor:
    r"""Squared L2 distance to the teacher's feature.

    .. math:: \frac{1}{N} \sum_n \| F_i^{(n)} - F_C^{(n)} \|_2^2

    Args:
        feature (Tensor): Feature :math:`F_i` of an exit, (N, D).
        teacher_feature (Tensor): Feature :math:`F_C` of the teacher, (N, D). The caller detaches
            it.
        reduction (str): ``'mean'`` is the formula above. Being a mean over samples, it is the same
            recipe on 8 GPUs x 16 and on 1 x 128. ``'mmrazor'`` is MMRazor's ``L2Loss(dist=True)``,
            the norm of the whole batch, neither squared nor averaged, so its strength depends on
            the batch of each GPU. ``'mmrazor_broadcast'`` is the number that MMRazor's BYOT trains
            on: it subtracts (N, D) from (N, D, 1, 1), so each of the N x D numbers of the feature
            is compared with each of the teacher's.

    Returns:
        Tensor: A scalar.
    """
    if reduction == 'mmrazor_broadcast':
        return _norm_of_all_pairs(feature, teacher_feature)
    # Squares overflow half precision.
    difference = full_precision(feature) - full_precision(teacher_feature)
    if reduction == 'mmrazor':
        return torch.linalg.vector_norm(difference)
    return difference.square().flatten(1).sum(dim=1).mean()


def _norm_of_all_pairs(a: Tensor, b: Tensor) -> Tensor:
    """Norm of the M x M differences of M numbers and M others.

    By their means and variances, so that nothing of the size M x M is made: MMRazor makes several
    tensors of (N D)^2 numbers, 4 GiB each at N = 64.
    """
    wide = torch.promote_types(a.dtype, torch.float32)  # for mixed precision
    a, b = a.flatten().to(wide), b.flatten().to(wide)
    mean_a, mean_b = a.mean(), b.mean()
    root = a.numel() ** 0.5
    return torch.linalg.vector_norm(
        torch.cat(
            [root * (a - mean_a), root * (b - mean_b), a.numel() * (mean_a - mean_b).reshape(1)]
        )
    )


@MODELS.register_module()
class HintLoss(nn.Module):
    """:func:`hint_loss` with a weight, ``lambda`` in the paper.

    Any module called as ``loss(feature, teacher_feature)`` can take its place, ``mmrazor.L2Loss``
    for example.

    Args:
        loss_weight (float): Not negative. Defaults to 1.0.
        reduction (str): ``'mean'``, ``'mmrazor'`` or ``'mmrazor_broadcast'``. Defaults to
            ``'mean'``.

    Raises:
        ConfigError: The weight is negative, or the reduction unknown.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ConfigError(f'HintLoss(reduction={reduction!r}): choose from {REDUCTIONS}')
        self.reduction = reduction
        self.loss_weight = checked_weight(self, loss_weight)

    def forward(self, feature: Tensor, teacher_feature: Tensor) -> Tensor:
        """The weighted loss of feature and teacher feature (N, D)."""
        return self.loss_weight * hint_loss(feature, teacher_feature, self.reduction)
