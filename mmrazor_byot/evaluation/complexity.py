"""Parameters and FLOPs of the network cut at each exit."""

import logging
from typing import Dict, List, Sequence, Tuple

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmrazor_byot.models.reachable import differentiable_copy, used_tensors


class CutNetwork(nn.Module):
    """A network that answers with the logits of some of its exits, numbered from 0."""

    def __init__(self, model: BaseModel, exits: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.exits = exits

    def forward(self, inputs: Tensor) -> Tuple[Tensor, ...]:
        logits = self.model(inputs, mode='tensor')
        logits = (logits,) if isinstance(logits, Tensor) else logits
        return tuple(logits[i] for i in self.exits)


def exit_complexity(model: BaseModel, input_size: Sequence[int]) -> List[Dict[str, int]]:
    """Count what a device needs that stops at each exit.

    The network cut at an exit is what its logits depend on: the sections up to it and its own head.
    Parameters are those that a gradient of the logits reaches; FLOPs are MMEngine's count (a
    multiply-add is one, batch norm and pooling included) of the traced graph with all else removed.

    Args:
        model (BaseModel): BYOT, or a plain classifier, which has one exit.
        input_size (Sequence[int]): (C, H, W) of one image.

    Returns:
        list[dict]: For exit 1 to C, and then, if there are several, for the ensemble: ``exit``
        (``'1/4'`` … ``'ensemble'``), ``params`` and ``flops``, numbers.
    """
    model, image = _prepared(model, input_size)
    count = getattr(model, 'num_exits', 1)
    cuts = {f'{i + 1}/{count}': [i] for i in range(count)}
    if count > 1:
        cuts['ensemble'] = list(range(count))
    return [
        dict(
            exit=name,
            params=sum(p.numel() for p in _parameters(model, exits, image)),
            flops=_flops(model, exits, image),
        )
        for name, exits in cuts.items()
    ]


def stage_flops(model: BaseModel, input_size: Sequence[int]) -> Dict[str, List[int]]:
    """Count what going on to the next exit costs, and what its head costs.

    A sample that stops at exit e, for which the heads of the exits R were run, costs
    ``sum(sections[:e]) + sum(heads[i - 1] for i in R)``. What an exit alone depends on is its head;
    what a deeper one needs too is its section. All that the deepest exit adds is its section, and
    its head costs 0.

    Args:
        model (BaseModel): As in :func:`exit_complexity`.
        input_size (Sequence[int]): (C, H, W) of one image.

    Returns:
        dict[str, list[int]]: ``sections`` and ``heads``, FLOPs for exit 1 to C.
    """
    model, image = _prepared(model, input_size)
    count = getattr(model, 'num_exits', 1)
    up_to = [_flops(model, range(i + 1), image) for i in range(count)]
    and_deeper = up_to[-1:] + [_flops(model, range(i, count), image) for i in range(1, count)]
    heads = [more - less for more, less in zip(and_deeper, and_deeper[1:])] + [0]
    sections = [more - less - head for less, more, head in zip([0, *up_to], up_to, heads)]
    return dict(sections=sections, heads=heads)


def exit_parameters(model: BaseModel, input_size: Sequence[int]) -> List[List[str]]:
    """Names of the parameters that the logits of each exit depend on, for exit 1 to C."""
    model, image = _prepared(model, input_size)
    names = {p: name for name, p in model.named_parameters()}
    return [
        [names[p] for p in _parameters(model, [i], image)]
        for i in range(getattr(model, 'num_exits', 1))
    ]


def _prepared(model: BaseModel, input_size: Sequence[int]) -> Tuple[BaseModel, Tensor]:
    """A copy to count on, as the caller's stays as it is; and an image."""
    distiller = getattr(model, 'distiller', None)
    for name in ('student_recorders', 'teacher_recorders'):
        # What MMRazor's recorders kept of the last batch cannot be copied.
        for recorder in getattr(getattr(distiller, name, None), 'recorders', {}).values():
            recorder.reset_data_buffer()
    return differentiable_copy(model), torch.zeros(1, *input_size)


def _parameters(model: BaseModel, exits: Sequence[int], image: Tensor) -> List[nn.Parameter]:
    with torch.enable_grad():
        return used_tensors(CutNetwork(model, exits)(image), list(model.parameters()))


def _flops(model: BaseModel, exits: Sequence[int], image: Tensor) -> int:
    logger = logging.getLogger('mmengine')
    level = logger.level
    # It warns of every module after the cut, which is the point of the cut.
    logger.setLevel(logging.ERROR)
    try:
        with torch.no_grad():
            analyzer = FlopAnalyzer(CutNetwork(model, exits), image)
            analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            return int(analyzer.total())
    finally:
        logger.setLevel(level)
