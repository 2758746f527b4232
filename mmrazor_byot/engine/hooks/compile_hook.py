"""Compiles the part of a model that only tensors go through."""

from types import MethodType

import torch
from mmengine.hooks import Hook
from torch import Size, Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed

from mmrazor_byot.compat import check_narrow_convolutions
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import HOOKS

from .utils import is_training, unwrap


@HOOKS.register_module()
class CompileHook(Hook):
    """``compile = True``, or a dict for ``torch.compile``, in a config.

    MMEngine's own switch compiles ``train_step``, optimizer, data samples and all, which falls into
    pieces and compiles some of them again and again. Here it is the network and its losses
    (``loss_terms``), or for a model without these its backbone. Names of weights stay as they are.
    """

    priority = 'VERY_LOW'  # after EMAHook, which copies the model

    def __init__(self) -> None:
        self._settings = None

    def before_run(self, runner) -> None:
        """Compile, and keep MMEngine from it.

        Raises:
            ConfigError: A setting of another type, or a network that is too narrow.
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

    def before_train(self, runner) -> None:
        """Put the setting back, as the config is written into checkpoints."""
        if self._settings is not None:
            runner.cfg['compile'], self._settings = self._settings, None


def compile_model(model: nn.Module, **settings) -> bool:
    """Compile ``loss_terms(inputs, target)`` of a model, or else its backbone, for training.

    One graph is made, for the shape of images that comes first. The smaller batch at the end of an
    epoch, and evaluation, run as they are: compiling for them would take longer than it saves.

    Args:
        model (nn.Module): The model.
        **settings: Of ``torch.compile``.

    Returns:
        bool: Whether there was anything to compile.

    Raises:
        ConfigError: In the first training step, if torch cannot compile on this machine.
    """
    owner, name = model, 'loss_terms'
    if not hasattr(model, name):
        owner, name = getattr(model, 'backbone', None), 'forward'
    if owner is None:
        return False
    # Of the class: a bound method would keep a copy of the model at the weights of the original.
    eager = getattr(type(owner), name)
    compiled = torch.compile(eager, **{'dynamic': False, **settings})
    shape = Size()

    def run(self, inputs: Tensor, *others):
        nonlocal shape
        if not self.training:
            return eager(self, inputs, *others)
        shape = shape or inputs.shape
        if inputs.shape != shape:
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
