"""Who teaches: made of what all exits say about a batch."""
from typing import Sequence

import torch
from torch import Tensor, nn

from mmrazor_byot.registry import MODELS
from mmrazor_byot.structures import ExitOutput


def mean_logits(logits: Sequence[Tensor]) -> Tensor:
    r"""The exits' opinion of equal weights.

    .. math:: z = \frac{1}{C} \sum_i z_i

    Its softmax is the geometric mean of the exits' softmaxes, scaled to sum
    to one.

    Args:
        logits (Sequence[Tensor]): Scores of each exit, (N, K).

    Returns:
        Tensor: (N, K).
    """
    return torch.stack(list(logits)).mean(dim=0)


@MODELS.register_module()
class DeepestTeacher(nn.Module):
    """The deepest exit teaches the shallow ones (section 3.2 of the paper)."""

    #: Whether the deepest exit learns from it, as the others do.
    teaches_deepest = False

    def forward(self, exits: Sequence[ExitOutput]) -> ExitOutput:
        """The deepest exit's answer, of all (exit 1 to C)."""
        return exits[-1]


@MODELS.register_module()
class EnsembleTeacher(nn.Module):
    """The mean of all exits' logits teaches every exit, the deepest too.

    So the deepest exit, which learns from labels alone with
    :class:`DeepestTeacher`, gains from the others. Features are compared
    with the deepest exit's, as ever.
    """

    teaches_deepest = True

    def forward(self, exits: Sequence[ExitOutput]) -> ExitOutput:
        """Mean logits (N, K) and the deepest feature (N, D)."""
        return ExitOutput(exits[-1].feature,
                          mean_logits([out.logits for out in exits]))
