"""Parameters and MACs of the network cut at each exit.

Functions and keys say FLOPs, as in OpenMMLab, and count a multiply-add as one.
"""

import logging
from typing import Dict, List, Sequence, Tuple

import torch
from mmengine.analysis import FlopAnalyzer
from torch import Tensor, nn

from mmrazor_byot.models.reachable import differentiable_copy, used_tensors

from .collect import Network


class CutNetwork(nn.Module):
    """A network that returns the logits of some of its exits only, numbered from 0."""

    def __init__(self, model: Network, exits: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.exits = exits

    def forward(self, inputs: Tensor) -> Tuple[Tensor, ...]:
        logits = self.model(inputs)
        logits = (logits,) if isinstance(logits, Tensor) else logits
        return tuple(logits[i] for i in self.exits)


def exit_complexity(model: Network, input_size: Sequence[int]) -> List[dict]:
    """Count parameters and MACs for stopping at each exit; a plain network has one.

    The network cut at an exit is what its logits depend on: the sections up to it and its own head.
    Parameters are those that a gradient of the logits reaches; MACs are MMEngine's count, batch
    norm and pooling included, of the traced graph with all else removed.

    Returns:
        list[dict]: For exit 1 to C and, if there are several, for the ensemble: ``exit``
        (``'1/4'`` … ``'ensemble'``), ``params`` and ``flops``.
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


def stage_flops(model: Network, input_size: Sequence[int]) -> Dict[str, List[int]]:
    """Count the MACs of the ``sections`` and of the ``heads`` of exit 1 to C.

    A sample that stops at exit e, for which the heads of the exits R were run, costs
    ``sum(sections[:e]) + sum(heads[i - 1] for i in R)``. What only one exit depends on is its head.
    The deepest section includes its head, which costs 0.
    """
    model, image = _prepared(model, input_size)
    count = getattr(model, 'num_exits', 1)
    up_to = [_flops(model, range(i + 1), image) for i in range(count)]
    and_deeper = up_to[-1:] + [_flops(model, range(i, count), image) for i in range(1, count)]
    heads = [more - less for more, less in zip(and_deeper, and_deeper[1:])] + [0]
    sections = [more - less - head for less, more, head in zip([0, *up_to], up_to, heads)]
    return dict(sections=sections, heads=heads)


def exit_parameters(model: Network, input_size: Sequence[int]) -> List[List[str]]:
    """Names of the parameters that the logits of each exit depend on, for exit 1 to C."""
    model, image = _prepared(model, input_size)
    names: Dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
    return [
        [names[p] for p in _parameters(model, [i], image)]
        for i in range(getattr(model, 'num_exits', 1))
    ]


def _prepared(model: Network, input_size: Sequence[int]) -> Tuple[Network, Tensor]:
    """A copy of the model to count on, and an image."""
    distiller = getattr(model, 'distiller', None)
    for name in ('student_recorders', 'teacher_recorders'):
        # Tensors with a graph, which the recorders keep of the last batch, cannot be copied.
        for recorder in getattr(getattr(distiller, name, None), 'recorders', {}).values():
            recorder.reset_data_buffer()
    return differentiable_copy(model), torch.zeros(1, *input_size)


def _parameters(model: Network, exits: Sequence[int], image: Tensor) -> List[Tensor]:
    with torch.enable_grad():
        return used_tensors(CutNetwork(model, exits)(image), list(model.parameters()))


def _flops(model: Network, exits: Sequence[int], image: Tensor) -> int:
    logger = logging.getLogger('mmengine')
    level = logger.level
    # Do not warn of the modules that the cut network skips.
    logger.setLevel(logging.ERROR)
    try:
        with torch.no_grad():
            analyzer = FlopAnalyzer(CutNetwork(model, exits), image)
            analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            return int(analyzer.total())
    finally:
        logger.setLevel(level)
