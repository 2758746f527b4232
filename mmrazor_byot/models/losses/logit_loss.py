"""Loss source 2 of the paper: the deepest exit's softmax (section 3.2)."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS

from .precision import full_precision
from .weight import checked_weight


def logit_loss(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Kullback-Leibler divergence from the teacher, a mean over samples.

    .. math:: T^2 \, KL(softmax(z_C / T) \,\|\, softmax(z_i / T))

    Args:
        logits (Tensor): Scores :math:`z_i` of an exit, (N, K).
        teacher_logits (Tensor): Scores :math:`z_C` of the teacher, (N, K). The caller detaches
            them.
        temperature (float): :math:`T`. The factor :math:`T^2` keeps the gradient's size independent
            of it.

    Returns:
        Tensor: A scalar, in nats.
    """
    student = F.log_softmax(full_precision(logits) / temperature, dim=1)
    teacher = F.log_softmax(full_precision(teacher_logits) / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction='batchmean', log_target=True)
    return temperature**2 * divergence


@MODELS.register_module()
class LogitLoss(nn.Module):
    """:func:`logit_loss` with a weight, ``alpha`` in the paper.

    Equal to ``mmrazor.KLDivergence``, which can take its place, as can any module called as
    ``loss(logits, teacher_logits)``.

    Args:
        temperature (float): Positive. Defaults to 3.0.
        loss_weight (float): Not negative. Defaults to 1.0.

    Raises:
        ConfigError: The temperature is not positive, or the weight negative.
    """

    def __init__(self, temperature: float = 3.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 < temperature < float('inf'):
            raise ConfigError(
                f'LogitLoss(temperature={temperature}): the temperature must be a positive number, '
                '3 in the paper'
            )
        self.temperature = temperature
        self.loss_weight = checked_weight(self, loss_weight)

    def forward(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """The weighted loss of logits and teacher logits (N, K), a scalar."""
        return self.loss_weight * logit_loss(logits, teacher_logits, self.temperature)
