"""Clipping of gradients that does not wait for their norm."""

import torch
from mmengine.optim import OptimWrapper as MMEngineOptimWrapper

from mmrazor_byot.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(MMEngineOptimWrapper):
    """MMEngine's wrapper, which leaves the norm of the gradient where it is.

    MMEngine reads ``grad_norm`` for the log in each iteration, and the GPU is waited for in the
    middle of the step. Here the message hub gets the tensor, and reads it when the log is printed.
    """

    def _clip_grad(self) -> None:
        """Clip, and note the norm."""
        params = [
            p
            for group in self.optimizer.param_groups
            for p in group['params']
            if p.grad is not None
        ]
        if params:
            norm = self.clip_func(params, **self.clip_grad_kwargs)
            if isinstance(norm, torch.Tensor):  # clipping by value has none
                self.message_hub.update_scalar(f'train/{self.grad_name}', norm.detach())
