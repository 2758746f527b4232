"""Distillation that sets in slowly."""
from typing import List, Tuple

from mmengine.hooks import Hook
from torch import nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import HOOKS

from .unwrap import unwrap

DISTILLING = ('logit_loss', 'hint_loss')


@HOOKS.register_module()
class DistillWarmupHook(Hook):
    """Raises the weights of logit and hint losses from 0.

    At first the deepest exit knows little that it could teach. In epoch e,
    counted from 0, each weight is ``min(1, e / epochs)`` of what the config
    says; a run that is resumed goes on where it was.

    Args:
        epochs (int): After so many epochs the weights are whole.

    Raises:
        ConfigError: ``epochs`` is not positive, or there is nothing to raise.
    """

    def __init__(self, epochs: int) -> None:
        if epochs < 1:
            raise ConfigError(f'DistillWarmupHook(epochs={epochs}): at least '
                              '1; to have no warm-up, leave the hook out')
        self.epochs = epochs
        self._losses: List[Tuple[nn.Module, float]] = []

    def before_train(self, runner) -> None:
        """Note the weights of the config."""
        exits = getattr(unwrap(runner.model), 'exit_losses', ())
        self._losses = [(loss, loss.loss_weight) for of_exit in exits
                        for name, loss in of_exit.items()
                        if name in DISTILLING and hasattr(loss, 'loss_weight')]
        if not self._losses:
            raise ConfigError(
                'DistillWarmupHook: the model has no logit or hint loss with '
                'a loss_weight; leave the hook out of custom_hooks')

    def before_train_epoch(self, runner) -> None:
        """Set the weights of this epoch."""
        share = min(1.0, runner.epoch / self.epochs)
        for loss, weight in self._losses:
            loss.loss_weight = share * weight
