"""Loss source 1 of the paper: the labels (section 3.2)."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmrazor_byot.registry import MODELS

from .weight import checked_weight


def label_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy with the labels, a mean over samples.

    Args:
        logits (Tensor): Scores before softmax, (N, K).
        target (Tensor): Class indices (N,), or class probabilities (N, K) as Mixup and CutMix make
            them.

    Returns:
        Tensor: A scalar, in nats.
    """
    return F.cross_entropy(logits, target)


@MODELS.register_module()
class LabelLoss(nn.Module):
    """:func:`label_loss` with a weight, ``1 - alpha`` in the paper.

    Any module called as ``loss(logits, target)`` can take its place in a config, for example
    mmpretrain's ``LabelSmoothLoss``.

    Args:
        loss_weight (float): Not negative. Defaults to 1.0.

    Raises:
        ConfigError: The weight is negative or no number.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = checked_weight(self, loss_weight)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The weighted loss of logits (N, K), a scalar."""
        return self.loss_weight * label_loss(logits, target)
