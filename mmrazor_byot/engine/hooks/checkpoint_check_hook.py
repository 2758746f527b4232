"""Refuses a checkpoint of another network instead of loading it in part."""

from typing import Any, Mapping

from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmrazor_byot.errors import CheckpointError, ConfigError
from mmrazor_byot.models.loading import (
    convert_state_dict,
    describe_architecture_misfit,
    describe_misfit,
)
from mmrazor_byot.registry import HOOKS
from mmrazor_byot.state_dict import other_types

from .utils import is_training, unwrap

TRAINING_STATE = ('meta', 'message_hub', 'optimizer')


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Compares a checkpoint with the model before it is loaded.

    MMEngine only logs the keys that differ. For testing or resuming, all weights must be present
    and have the right shape; for fine-tuning (``load_from`` in training), most of those that both
    have. To resume, the training state must be there, and an ``EMAHook`` if there is an average.
    """

    priority = 'ABOVE_NORMAL'  # before EMAHook, which loads the average

    def before_train(self, runner: Runner) -> None:
        """ConfigError if a frozen architecture has random weights."""
        model: Any = unwrap(runner.model)
        if getattr(model, 'frozen', False) and not (runner._has_loaded or model.has_weights):
            raise ConfigError(
                'freeze_architecture=True, but the architecture has random weights: set '
                "model.architecture.init_cfg=dict(type='Pretrained', checkpoint=...) or load_from"
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the state dicts.

        Raises:
            CheckpointError: They do not fit; names the first keys that differ.
        """
        source = f'the last checkpoint in {runner.work_dir}'
        if runner._load_from:
            source = f'checkpoint "{runner._load_from}"'
        if 'state_dict' not in checkpoint:  # which EMAHook reads
            weights = dict(checkpoint)
            checkpoint.clear()
            checkpoint['state_dict'] = weights
        model: Any = unwrap(runner.model)
        states = [checkpoint]
        if runner._resume:
            missing = [k for k in TRAINING_STATE if k not in checkpoint]
            if missing:
                raise CheckpointError(
                    f'{source} has no {missing[0]}, so training cannot be resumed from it; to '
                    'start from its weights, set load_from (without --resume)'
                )
            if 'ema_state_dict' in checkpoint:
                _check_ema_hook(runner, source)
                average = checkpoint['ema_state_dict']
                states.append({k: average[k] for k in average if k.startswith('module.')})
        for number, weights in enumerate(states):
            state = convert_state_dict(model, weights)
            difference = describe_misfit(model, state)
            frozen = getattr(model, 'frozen', False)
            if frozen and (misfit := describe_architecture_misfit(model, state)):
                raise CheckpointError(
                    f'{source} does not fit the frozen {type(model.architecture).__name__}: '
                    f'{misfit}'
                )
            fine_tuning = is_training(runner) and not runner._resume
            if difference and not (fine_tuning and _most_fit(model, state)):
                average = ' (ema_state_dict)' if number else ''
                raise CheckpointError(
                    f'{source}{average} does not fit the {type(model).__name__}: {difference}'
                )


def _check_ema_hook(runner: Runner, source: str) -> None:
    if not any(isinstance(hook, EMAHook) for hook in runner.hooks):
        raise CheckpointError(
            f'{source} is of a run with an exponential moving average (ema_state_dict), but the '
            'config has no EMAHook: add the custom hook of that run to resume it, or start from '
            'the averaged weights by load_from (without --resume)'
        )


def _most_fit(model: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Whether most of the weights that both have fit; a network of another width has a few."""
    own = {k: v for k, v in model.state_dict().items() if not k.endswith('_tracked')}
    shared = [k for k in own if isinstance(state.get(k), Tensor)]
    fit = [k for k in shared if state[k].shape == own[k].shape]
    return 2 * len(fit) > len(shared) and not other_types(own, state)
