"""Find the tensors of a network that an output depends on."""

import copy
from typing import Any, Iterable, List, Sequence, TypeVar

import torch
from torch import Tensor

AnyTensor = TypeVar('AnyTensor', bound=Tensor)  # such as nn.Parameter


def differentiable_copy(model: Any) -> Any:
    """Copy a model to the CPU, in eval mode, with gradients for all parameters."""
    model = copy.deepcopy(model).cpu().float()
    model.eval()  # not chained: mmpretrain's backbones return None
    model.requires_grad_(True)
    model.frozen = False  # a BYOT network
    for module in model.modules():
        if getattr(module, 'with_cp', False):
            module.with_cp = False  # checkpointing does not work with autograd.grad
    return model


def used_tensors(outputs: Iterable[Tensor], inputs: Sequence[AnyTensor]) -> List[AnyTensor]:
    """Those of the inputs that a gradient of the outputs reaches."""
    total = torch.stack([output.sum() for output in outputs]).sum()
    grads = torch.autograd.grad(total, inputs, retain_graph=True, allow_unused=True)
    return [x for x, grad in zip(inputs, grads) if grad is not None]
