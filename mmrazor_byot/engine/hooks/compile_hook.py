"""Compiles the network and its losses."""

from types import MethodType
from typing import Any, Optional, Union

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Size, Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed

from mmrazor_byot.compat.torch import check_narrow_convolutions
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import HOOKS

from .utils import is_training, unwrap


@HOOKS.register_module()
class CompileHook(Hook):
    """Compiles a model if a config sets ``compile = True``, or a dict for ``torch.compile``.

    MMEngine's ``compile`` compiles all of ``train_step`` with optimizer and data samples, which
    breaks the graph and recompiles parts of it. This hook compiles the network and its losses
    (``loss_terms``), or the backbone of a model without them, and keeps the names of the weights.
    """

    priority = 'VERY_LOW'  # after EMAHook, which copies the model

    def __init__(self) -> None:
        self._settings: Union[None, bool, dict] = None

    def before_run(self, runner: Runner) -> None:
        """Compile the model, and keep MMEngine from doing so.

        Raises:
            ConfigError: The setting has another type, or the network is too narrow.
        """
        settings = runner.cfg.get('compile')
        if not settings or not is_training(runner):
            return
        if settings is not True and not isinstance(settings, dict):
            raise ConfigError(
                f'compile={settings!r}: set True, False or a dict of arguments of torch.compile'
            )
        model = unwrap(runner.model)
        arguments = {} if settings is True else dict(settings)
        if arguments.get('backend', 'inductor') == 'inductor':
            check_narrow_convolutions(model, 'compile')  # inductor chooses NHWC
        if compile_model(model, **arguments):
            self._settings = runner.cfg.pop('compile')

    def before_train(self, runner: Runner) -> None:
        """Restore the setting, as checkpoints hold the config."""
        if self._settings is not None:
            runner.cfg['compile'], self._settings = self._settings, None


def compile_model(model: nn.Module, **settings: Any) -> bool:
    """Compile ``loss_terms(inputs, target)`` of a model, or else its backbone, for training.

    One graph is compiled, for the shape of the first images. The smaller batch at the end of an
    epoch, and evaluation, run in eager mode: compiling for them takes longer than it saves.

    Args:
        model (nn.Module): The model.
        **settings: As in ``torch.compile``.

    Returns:
        bool: Whether there was anything to compile.

    Raises:
        ConfigError: In the first training step, if torch cannot compile on this machine.
    """
    owner: Optional[nn.Module] = model
    name = 'loss_terms'
    if not hasattr(model, name):
        owner, name = getattr(model, 'backbone', None), 'forward'
    if owner is None:
        return False
    # Not a bound method: in a copy of the model it would use the weights of the original.
    eager = getattr(type(owner), name)
    compiled = torch.compile(eager, **{'dynamic': False, **settings})
    shape = Size()

    def run(self: nn.Module, inputs: Tensor, *others: Any) -> Any:
        nonlocal shape
        if self.training:
            shape = shape or inputs.shape
        if not self.training or inputs.shape != shape:
            return eager(self, inputs, *others)
        try:
            return compiled(self, inputs, *others)
        except BackendCompilerFailed as e:
            reason = str(e).strip().splitlines()[0]
            raise ConfigError(
                f'compile: torch cannot compile here ({reason}). It needs a C++ compiler (g++), '
                'and Triton for a GPU; install them, or set compile=False'
            ) from e

    setattr(owner, name, MethodType(run, owner))
    return True
