"""Which tensors of a network an answer depends on: those that its gradient reaches."""

import copy
from typing import Iterable, List, Sequence

import torch
from torch import Tensor, nn


def differentiable_copy(model: nn.Module) -> nn.Module:
    """A copy for evaluation on the CPU, all of whose parameters take gradients."""
    model = copy.deepcopy(model).cpu().float()
    model.eval()  # not chained: mmpretrain's backbones return None
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    for module in model.modules():
        if getattr(module, 'with_cp', False):
            module.with_cp = False  # it hides its graph from autograd.grad
    return model


def reached(answers: Iterable[Tensor], tensors: Sequence[Tensor]) -> List[Tensor]:
    """Those of the tensors that a gradient of the answers reaches."""
    total = sum(answer.sum() for answer in answers)
    grads = torch.autograd.grad(total, tensors, retain_graph=True, allow_unused=True)
    return [x for x, grad in zip(tensors, grads) if grad is not None]
