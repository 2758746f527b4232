"""The losses of the exits: which there are, and what they are called with."""
import inspect
from typing import Dict, List, Sequence

from torch import Tensor, nn

from mmrazor_byot.registry import MODELS
from mmrazor_byot.structures import ExitOutput

from .sections import per_exit


def build_exit_losses(label_loss, logit_loss, hint_loss, shallow: int,
                      teaches_deepest: bool) -> nn.ModuleList:
    """Build the losses of each exit that learns from a teacher.

    Args:
        label_loss, logit_loss, hint_loss (dict | Sequence | None): Configs,
            one for all exits or a list.
        shallow (int): Number of shallow exits, C - 1.
        teaches_deepest (bool): Whether the deepest exit has labels and logits
            to learn from as the others; the hint is its own feature.

    Returns:
        nn.ModuleList: For each exit a ``ModuleDict`` by the loss's name.

    Raises:
        ConfigError: A list of another length.
    """
    taught = shallow + teaches_deepest
    configs = dict(
        label_loss=per_exit('label_loss', label_loss, taught),
        logit_loss=per_exit('logit_loss', logit_loss, taught),
        hint_loss=per_exit('hint_loss', hint_loss, shallow) + [None])
    return nn.ModuleList(
        nn.ModuleDict({
            name: MODELS.build(cfgs[i])
            for name, cfgs in configs.items() if cfgs[i] is not None
        }) for i in range(taught))


def exit_loss_terms(exits: Sequence[ExitOutput], teacher: ExitOutput,
                    target: Tensor, losses: nn.ModuleList,
                    with_target: Sequence[bool]) -> Dict[str, Tensor]:
    """What the exits lose.

    Args:
        exits (Sequence[ExitOutput]): Of exit 1 and so on.
        teacher (ExitOutput): Detached.
        target (Tensor): Class indices (N,), or probabilities (N, K).
        losses (nn.ModuleList): Of :func:`build_exit_losses`.
        with_target (Sequence[bool]): Of :func:`logit_losses_with_target`.

    Returns:
        dict[str, Tensor]: ``exit1.label_loss`` and so on, scalars.
    """
    found = {}
    for i, (out, of_exit) in enumerate(zip(exits, losses)):
        arguments = dict(
            label_loss=(out.logits, target),
            logit_loss=(out.logits, teacher.logits),
            hint_loss=(out.feature, teacher.feature))
        if with_target[i]:
            arguments['logit_loss'] += (target, )
        for name, loss in of_exit.items():
            found[f'exit{i + 1}.{name}'] = loss(*arguments[name])
    return found


def logit_losses_with_target(losses: nn.ModuleList) -> List[bool]:
    """For each exit, whether its logit loss wants the labels too.

    MMRazor's ``DKDLoss`` does, which tells the right class from the others.
    """
    return [
        'logit_loss' in of_exit and _required(of_exit['logit_loss']) > 2
        for of_exit in losses
    ]


def _required(loss: nn.Module) -> int:
    """How many arguments it cannot do without."""
    parameters = inspect.signature(loss.forward).parameters.values()
    return sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
               for p in parameters)
