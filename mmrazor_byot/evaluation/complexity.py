"""Params and FLOPs of the network cut at each exit."""
import copy
import logging
from typing import Dict, List, Sequence, Tuple

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.model import BaseModel
from torch import Tensor, nn


class _CutNetwork(nn.Module):
    """A network that answers with some of its exits."""

    def __init__(self, model: BaseModel, exits: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.exits = exits

    def forward(self, inputs: Tensor) -> Tuple[Tensor, ...]:
        logits = self.model(inputs, mode='tensor')
        logits = (logits, ) if isinstance(logits, Tensor) else logits
        return tuple(logits[i] for i in self.exits)


def exit_complexity(model: BaseModel,
                    input_size: Sequence[int]) -> List[Dict[str, int]]:
    """Count what a device needs that stops at each exit.

    The network cut at an exit is what its logits depend on: the sections up
    to it and its own head. Parameters are those that a gradient of the logits
    reaches; FLOPs are MMEngine's count (a multiply-add is one, batch norm
    and pooling included) of the traced graph with all else removed.

    Args:
        model (BaseModel): BYOT, or a plain classifier, which has one exit.
        input_size (Sequence[int]): (C, H, W) of one image.

    Returns:
        list[dict]: For exit 1 to C, and behind them, where there are several,
        for the ensemble: ``exit`` (``'1/4'`` … ``'ensemble'``), ``params``
        and ``flops``, numbers.
    """
    model = _own_copy(model)
    image = torch.zeros(1, *input_size)
    count = getattr(model, 'num_exits', 1)
    cuts = {f'{i + 1}/{count}': [i] for i in range(count)}
    if count > 1:
        cuts['ensemble'] = list(range(count))
    return [
        dict(exit=name, params=_params(cut, image), flops=_flops(cut, image))
        for name, cut in ((n, _CutNetwork(model, e)) for n, e in cuts.items())
    ]


def stage_complexity(model: BaseModel,
                     input_size: Sequence[int]) -> List[Dict[str, int]]:
    """Count what each exit adds, for a device that goes on from exit to exit.

    Args:
        model (BaseModel): BYOT.
        input_size (Sequence[int]): (C, H, W) of one image.

    Returns:
        list[dict]: For exit 1 to C: ``head_flops``, of what no other exit
        needs, and ``trunk_flops``, of what it needs and no exit before it
        has computed. All that the deepest adds is its head's.
    """
    model = _own_copy(model)
    image = torch.zeros(1, *input_size)
    count = model.num_exits
    alone = [_flops(_CutNetwork(model, [i]), image) for i in range(count)]
    up_to = [_flops(_CutNetwork(model, range(i + 1)), image)
             for i in range(count)]
    # Heads of the exits before each: computing them too is the difference.
    before = [both - one for both, one in zip(up_to, alone)]
    heads = [after - here for here, after in zip(before, before[1:])]
    reached = [one - head for one, head in zip(alone, heads)]
    trunks = [here - behind for behind, here in zip([0, *reached], reached)]
    return [
        dict(trunk_flops=trunk, head_flops=head) for trunk, head in zip(
            [*trunks, 0], [*heads, alone[-1] - reached[-1]])
    ]


def _own_copy(model: BaseModel) -> BaseModel:
    """The model for evaluation on the CPU; the caller's stays as it is."""
    model = copy.deepcopy(model).cpu().float()
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model


def _params(network: nn.Module, image: Tensor) -> int:
    parameters = list(network.parameters())
    with torch.enable_grad():
        answer = sum(logits.sum() for logits in network(image))
        grads = torch.autograd.grad(answer, parameters, allow_unused=True)
    return sum(p.numel() for p, g in zip(parameters, grads) if g is not None)


def _flops(network: nn.Module, image: Tensor) -> int:
    logger = logging.getLogger('mmengine')
    level = logger.level
    # It warns of every module behind the cut, which is the point of the cut.
    logger.setLevel(logging.ERROR)
    try:
        with torch.no_grad():
            analyzer = FlopAnalyzer(network, image)
            analyzer.unsupported_ops_warnings(False)
            analyzer.uncalled_modules_warnings(False)
            return int(analyzer.total())
    finally:
        logger.setLevel(level)
