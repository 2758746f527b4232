"""Compiles the part of a model that only tensors go through."""

from mmengine.hooks import Hook
from torch import nn

from mmrazor_byot.compat import check_narrow_convolutions
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import HOOKS

from ..compiled import CompiledInTraining
from .unwrap import unwrap


@HOOKS.register_module()
class CompileHook(Hook):
    """``compile = True``, or a dict for ``torch.compile``, in a config.

    MMEngine's own switch compiles ``train_step``, optimizer, data samples and all, which falls into
    pieces and compiles some of them again and again. Here it is the network and its losses
    (``loss_terms``), or for a model without these its backbone. Names of weights stay as they are.
    """

    priority = 'VERY_LOW'  # behind EMAHook, which copies the model

    def __init__(self) -> None:
        self._settings = None

    def before_run(self, runner) -> None:
        """Compile, and keep MMEngine from it."""
        settings = runner.cfg.get('compile')
        # A train loop is built before the hooks run; a tester's never.
        training = not isinstance(runner._train_loop, (dict, type(None)))
        if not settings or not training:
            return
        if settings is not True and not isinstance(settings, dict):
            raise ConfigError(
                f'compile={settings!r}: set True, False or a dict of arguments of torch.compile'
            )
        model = unwrap(runner.model)
        arguments = {} if settings is True else dict(settings)
        if arguments.get('backend', 'inductor') == 'inductor':
            check_narrow_convolutions(model, 'compile')  # it chooses NHWC
        if compile_model(model, **arguments):
            self._settings = runner.cfg.pop('compile')

    def before_train(self, runner) -> None:
        """Put the setting back, as the config is written into checkpoints."""
        if self._settings is not None:
            runner.cfg['compile'], self._settings = self._settings, None


def compile_model(model: nn.Module, **settings) -> bool:
    """Compile what a model has for it.

    Args:
        model (nn.Module): Its method ``loss_terms(inputs, target)``, or else its backbone, is
            compiled in training.
        **settings: Of ``torch.compile``.

    Returns:
        bool: Whether there was anything.
    """
    owner, name = model, 'loss_terms'
    if not hasattr(model, name):
        owner, name = getattr(model, 'backbone', None), 'forward'
    if owner is None:
        return False
    setattr(owner, name, CompiledInTraining(getattr(owner, name), model, **settings))
    return True
