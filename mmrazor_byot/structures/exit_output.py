"""What one exit says about a batch."""

from typing import NamedTuple

from torch import Tensor


class ExitOutput(NamedTuple):
    """What one exit computes from its feature map.

    Attributes:
        feature (Tensor): The pooled feature before the classifier, (N, D). D is the same for all
            exits, that of the deepest.
        logits (Tensor): The classifier's scores before softmax, (N, K).
    """

    feature: Tensor
    logits: Tensor

    def detach(self) -> 'ExitOutput':
        """The same values, cut off from the graph: a teacher."""
        return ExitOutput(self.feature.detach(), self.logits.detach())
