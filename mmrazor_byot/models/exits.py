"""Be Your Own Teacher in torch alone: feature maps -> exits -> losses (arXiv 1905.08094)."""

from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Sequence, Tuple

from torch import Tensor

#: A feature map (N, C, H, W) to a feature (N, D) and logits (N, K).
ExitHead = Callable[[Tensor], Tuple[Tensor, Tensor]]
#: Two tensors to a scalar.
Loss = Callable[[Tensor, Tensor], Tensor]


class ExitOutput(NamedTuple):
    """Output of one exit."""

    feature: Tensor  #: Pooled, (N, D); D is the same for all exits, that of the deepest.
    logits: Tensor  #: Scores before softmax, (N, K).

    def detach(self) -> 'ExitOutput':
        """Detach both tensors from the graph, for use as a teacher."""
        return ExitOutput(self.feature.detach(), self.logits.detach())


def forward_exits(maps: Iterable[Tensor], heads: Iterable[ExitHead]) -> List[ExitOutput]:
    """Run every exit head once, on the feature map (N, C_i, H_i, W_i) of its section.

    The last head is the network's own.
    """
    return [ExitOutput(*head(feature_map)) for feature_map, head in zip(maps, heads)]


def exit_losses(
    outputs: Sequence[ExitOutput],
    target: Tensor,
    losses: Iterable[Mapping[str, Loss]],
    deepest_loss: Loss,
) -> Dict[str, Tensor]:
    r"""Compute the terms of the paper's loss, which is their sum (section 3.2).

    .. math::
        L = CE(q_C, y) + \sum_{i<C} \left[ (1 - \alpha) CE(q_i, y)
            + \alpha T^2 KL(p_C \| p_i) + \lambda \|F_i - F_C\|_2^2 \right]

    Args:
        outputs (Sequence[ExitOutput]): Outputs of exits 1 to C.
        target (Tensor): Class indices (N,), or class probabilities (N, K).
        losses (Iterable[Mapping[str, Loss]]): For each of the exits 1 to C - 1 any of
            ``label_loss`` (called with logits and target), ``logit_loss`` (with logits and the
            deepest exit's) and ``hint_loss`` (with the feature and the deepest exit's), weights
            included.
        deepest_loss (Loss): Called with the deepest exit's logits and the target.

    Returns:
        dict[str, Tensor]: ``exit1.label_loss``, ``exit1.logit_loss``, ``exit1.hint_loss`` and so on
        to ``exitC.label_loss``.
    """
    *shallow, deepest = outputs
    teacher = deepest.detach()  # distillation does not train the teacher
    terms = {}
    for i, (output, losses_of_exit) in enumerate(zip(shallow, losses), start=1):
        arguments = dict(
            label_loss=(output.logits, target),
            logit_loss=(output.logits, teacher.logits),
            hint_loss=(output.feature, teacher.feature),
        )
        for name, loss in losses_of_exit.items():
            terms[f'exit{i}.{name}'] = loss(*arguments[name])
    terms[f'exit{len(outputs)}.label_loss'] = deepest_loss(deepest.logits, target)
    return terms
