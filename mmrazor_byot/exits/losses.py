"""The three losses of the paper (section 3.2), each a mean over samples.

A config can use any other module that is called with the same two tensors, such as mmpretrain's
``LabelSmoothLoss`` or MMRazor's ``KLDivergence`` and ``L2Loss``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError

__all__ = ['HintLoss', 'LabelLoss', 'LogitLoss', 'hint_loss', 'logit_loss']

REDUCTIONS = ('mean', 'mmrazor', 'mmrazor_broadcast')


def logit_loss(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Kullback-Leibler divergence from the teacher's softmax, in nats.

    .. math:: T^2 \, KL(softmax(z_C / T) \,\|\, softmax(z_i / T))

    Args:
        logits (Tensor): Logits :math:`z_i` of an exit, (N, K).
        teacher_logits (Tensor): Logits :math:`z_C` of the teacher, (N, K), detached.
        temperature (float): :math:`T`. The factor :math:`T^2` keeps the size of the gradient
            independent of it. Defaults to 1.0.

    Returns:
        Tensor: A scalar, the mean over samples.
    """
    student, teacher = (
        F.log_softmax(_full_precision(z) / temperature, dim=1) for z in (logits, teacher_logits)
    )
    return temperature**2 * F.kl_div(student, teacher, reduction='batchmean', log_target=True)


def hint_loss(feature: Tensor, teacher_feature: Tensor, reduction: str = 'mean') -> Tensor:
    r"""Squared L2 distance to the teacher's feature.

    .. math:: \frac{1}{N} \sum_n \| F_i^{(n)} - F_C^{(n)} \|_2^2

    Args:
        feature (Tensor): Feature :math:`F_i` of an exit, (N, D).
        teacher_feature (Tensor): Feature :math:`F_C` of the teacher, (N, D), detached.
        reduction (str): See :class:`HintLoss`. Defaults to ``'mean'``.

    Returns:
        Tensor: A scalar.
    """
    a, b = _full_precision(feature), _full_precision(teacher_feature)  # squares overflow half
    if reduction == 'mmrazor_broadcast':
        return _norm_of_all_differences(a.flatten(), b.flatten())
    if reduction == 'mmrazor':
        return torch.linalg.vector_norm(a - b)
    return (a - b).square().flatten(1).sum(dim=1).mean()


class WeightedLoss(nn.Module):
    """Base of the losses, which have a weight."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 <= loss_weight < float('inf'):
            raise ConfigError(
                f'{type(self).__name__}(loss_weight={loss_weight}): a loss weight must be zero or '
                'positive; to leave a loss out, set it to None'
            )
        self.loss_weight = loss_weight


class LabelLoss(WeightedLoss):
    """Cross entropy with the labels, in nats.

    Args:
        loss_weight (float): ``1 - alpha`` in the paper, not negative. Defaults to 1.0.

    Raises:
        ConfigError: The weight is negative or not a number.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The weighted loss of logits (N, K) and class indices (N,) or probabilities (N, K)."""
        return self.loss_weight * F.cross_entropy(logits, target)


class LogitLoss(WeightedLoss):
    """:func:`logit_loss` with a weight; equal to ``mmrazor.KLDivergence``.

    Args:
        temperature (float): Positive. Defaults to 3.0.
        loss_weight (float): ``alpha`` in the paper, not negative. Defaults to 1.0.

    Raises:
        ConfigError: The temperature is not positive, or the weight negative.
    """

    def __init__(self, temperature: float = 3.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if not 0 < temperature < float('inf'):
            raise ConfigError(
                f'LogitLoss(temperature={temperature}): the temperature must be a positive number, '
                '3 in the paper'
            )
        self.temperature = temperature

    def forward(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """The weighted loss of logits and teacher logits (N, K), a scalar."""
        return self.loss_weight * logit_loss(logits, teacher_logits, self.temperature)


class HintLoss(WeightedLoss):
    """:func:`hint_loss` with a weight.

    Args:
        loss_weight (float): ``lambda`` in the paper, not negative. Defaults to 1.0.
        reduction (str): ``'mean'`` is the paper's, and the same on 8 GPUs x 16 and 1 x 128.
            ``'mmrazor'`` is MMRazor's ``L2Loss(dist=True)``, the norm of the full batch, neither
            squared nor averaged, so that it depends on the batch size of each GPU.
            ``'mmrazor_broadcast'`` is what MMRazor's BYOT trains with: it subtracts (N, D) from
            (N, D, 1, 1), so all N x D values of the feature are compared with all of the teacher's.
            Defaults to ``'mean'``.

    Raises:
        ConfigError: The weight is negative, or the reduction unknown.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__(loss_weight)
        if reduction not in REDUCTIONS:
            raise ConfigError(f'HintLoss(reduction={reduction!r}): choose from {REDUCTIONS}')
        self.reduction = reduction

    def forward(self, feature: Tensor, teacher_feature: Tensor) -> Tensor:
        """The weighted loss of feature and teacher feature (N, D), a scalar."""
        return self.loss_weight * hint_loss(feature, teacher_feature, self.reduction)


def _full_precision(x: Tensor) -> Tensor:
    """Cast half precision to float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _norm_of_all_differences(a: Tensor, b: Tensor) -> Tensor:
    """Norm of the M x M differences between two vectors of length M.

    Computed from means and variances: MMRazor's tensors of M x M = (N D)^2 values take 4 GiB each
    at N = 64.
    """
    mean_a, mean_b = a.mean(), b.mean()
    root = a.numel() ** 0.5
    return torch.linalg.vector_norm(
        torch.cat(
            [root * (a - mean_a), root * (b - mean_b), a.numel() * (mean_a - mean_b).reshape(1)]
        )
    )
