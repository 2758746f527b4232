"""Be Your Own Teacher in torch alone: feature maps -> exits -> losses (arXiv 1905.08094)."""

from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from torch import Tensor, nn

#: A feature map (N, C, H, W) to a feature (N, D) and logits (N, K).
ExitHead = Callable[[Tensor], Tuple[Tensor, Tensor]]
#: Two tensors to a scalar.
Loss = Callable[..., Tensor]


class ExitOutput(NamedTuple):
    """Output of one exit."""

    feature: Tensor  #: Pooled, (N, D); D is the same for all exits, that of the deepest.
    logits: Tensor  #: Scores before softmax, (N, K).

    def detach(self) -> 'ExitOutput':
        """Detach both tensors from the graph, for use as a teacher."""
        return ExitOutput(self.feature.detach(), self.logits.detach())


class SectionOutput(NamedTuple):
    """Output of the network without its exit heads; these need nothing else."""

    maps: Tuple[Tensor, ...]  #: Feature maps of section 1 to C - 1, (N, C_i, H_i, W_i).
    feature: Tensor  #: The deepest exit's feature, (N, D).
    logits: Tensor  #: The deepest exit's logits, (N, K).

    def to(self, *args: Any, **kwargs: Any) -> 'SectionOutput':
        """Move or cast all tensors; arguments as of ``Tensor.to``."""
        maps = tuple(x.to(*args, **kwargs) for x in self.maps)
        return SectionOutput(maps, *(x.to(*args, **kwargs) for x in self[1:]))


def forward_exits(sections: SectionOutput, heads: Iterable[ExitHead]) -> List[ExitOutput]:
    """Run the heads of exit 1 to C - 1 once each; the deepest exit is the network's own."""
    shallow = [ExitOutput(*head(feature_map)) for feature_map, head in zip(sections.maps, heads)]
    return [*shallow, ExitOutput(sections.feature, sections.logits)]


def exit_losses(
    outputs: Sequence[ExitOutput],
    target: Optional[Tensor],
    losses: Iterable[Union[Mapping[str, Loss], nn.ModuleDict]],
    deepest_loss: Optional[Loss],
) -> Dict[str, Tensor]:
    r"""Compute the terms of the paper's loss, which is their sum (section 3.2).

    .. math::
        L = CE(q_C, y) + \sum_{i<C} \left[ (1 - \alpha) CE(q_i, y)
            + \alpha T^2 KL(p_C \| p_i) + \lambda \|F_i - F_C\|_2^2 \right]

    Args:
        outputs (Sequence[ExitOutput]): Outputs of exits 1 to C.
        target (Tensor, optional): Class indices (N,), or class probabilities (N, K). Only label
            losses need it.
        losses (Iterable[Mapping[str, Loss]]): For each of the exits 1 to C - 1 any of
            ``label_loss`` (called with logits and target), ``logit_loss`` (with logits and the
            deepest exit's) and ``hint_loss`` (with the feature and the deepest exit's), weights
            included.
        deepest_loss (Loss, optional): Called with the deepest exit's logits and the target. None if
            the network is frozen.

    Returns:
        dict[str, Tensor]: ``exit1.label_loss``, ``exit1.logit_loss``, ``exit1.hint_loss`` and so on
        to ``exitC.label_loss``.
    """
    *shallow, deepest = outputs
    teacher = deepest.detach()  # distillation does not train the teacher
    terms: Dict[str, Tensor] = {}
    for i, (output, losses_of_exit) in enumerate(zip(shallow, losses), start=1):
        arguments: Dict[str, tuple] = dict(
            label_loss=(output.logits, target),
            logit_loss=(output.logits, teacher.logits),
            hint_loss=(output.feature, teacher.feature),
        )
        for name, loss in losses_of_exit.items():
            terms[f'exit{i}.{name}'] = loss(*arguments[name])
    if deepest_loss is not None:
        terms[f'exit{len(outputs)}.label_loss'] = deepest_loss(deepest.logits, target)
    return terms
