"""Who teaches: made of what all exits say about a batch."""
from typing import List, Sequence

import torch
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
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

    def forward(self, exits: Sequence[ExitOutput],
                inputs: Tensor) -> ExitOutput:
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

    def forward(self, exits: Sequence[ExitOutput],
                inputs: Tensor) -> ExitOutput:
        """Mean logits (N, K) and the deepest feature (N, D)."""
        return ExitOutput(exits[-1].feature,
                          mean_logits([out.logits for out in exits]))


@MODELS.register_module()
class AveragedTeacher(EnsembleTeacher):
    """A moving average of the network teaches every exit, the deepest too.

    Its exits' mean logits and its deepest feature, on the same images; one
    more run forward in each step. ``AveragedTeacherHook`` keeps the average.
    """

    def __init__(self) -> None:
        super().__init__()
        # In a list it is no part of this network and of its checkpoints.
        self._average: List[nn.Module] = []

    def follow(self, average: nn.Module) -> None:
        """Teach what this network says.

        Args:
            average (nn.Module): A BYOT of the same kind.
        """
        self._average = [average]

    def forward(self, exits: Sequence[ExitOutput],
                inputs: Tensor) -> ExitOutput:
        """Mean logits (N, K) and deepest feature (N, D) of the average.

        Raises:
            ConfigError: There is no average.
        """
        if not self._average:
            raise ConfigError(
                'AveragedTeacher has no average to ask: add dict(type='
                "'mmrazor_byot.AveragedTeacherHook') to custom_hooks")
        with torch.no_grad():
            exits = self._average[0].forward_exits(inputs)
        return super().forward(exits, inputs)
