"""A function of tensors that is compiled for training only."""

import copy
from typing import Callable

import torch
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed

from mmrazor_byot.errors import ConfigError


class CompiledInTraining:
    """Runs a function compiled while its module trains, else as it is.

    One graph is made, for the shape of images that comes first. The smaller batch at the end of an
    epoch, and evaluation, run as they are: compiling for them would take longer than it saves.

    Args:
        function (Callable): Its first argument is a batch of images.
        module (nn.Module): That says whether it is in training.
        **settings: Of ``torch.compile``. With ``dynamic`` given, batches of every shape are left to
            torch.
    """

    def __init__(self, function: Callable, module: nn.Module, **settings) -> None:
        self.function = function
        self.module = module
        self.settings = settings
        self.every_shape = settings.get('dynamic') is not None
        self.compiled = torch.compile(function, **{'dynamic': False, **settings})
        self.shape = None

    def __deepcopy__(self, memo: dict) -> 'CompiledInTraining':
        """A copy of the model gets a compiled function of its own."""
        return CompiledInTraining(
            copy.deepcopy(self.function, memo), copy.deepcopy(self.module, memo), **self.settings
        )

    def __call__(self, inputs: Tensor, *others):
        """Call the function.

        Raises:
            ConfigError: It cannot be compiled on this machine.
        """
        if not (self.module.training and self._fits(inputs)):
            return self.function(inputs, *others)
        try:
            return self.compiled(inputs, *others)
        except BackendCompilerFailed as e:
            reason = str(e).strip().splitlines()[0]
            raise ConfigError(
                f'compile: torch cannot compile here ({reason}). It needs a C++ compiler (g++), '
                'and Triton for a GPU; install them, or set compile=False'
            ) from e

    def _fits(self, inputs: Tensor) -> bool:
        self.shape = self.shape or inputs.shape
        return self.every_shape or inputs.shape == self.shape
