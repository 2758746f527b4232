"""Refuses a checkpoint of another network instead of loading it in part."""

from typing import Mapping

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmrazor_byot.errors import CheckpointError
from mmrazor_byot.models.loading import convert_state_dict, describe_difference
from mmrazor_byot.registry import HOOKS

from .utils import is_training, unwrap

TRAINING_STATE = ('meta', 'message_hub', 'optimizer')


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Compares a checkpoint with the model before it is loaded.

    MMEngine only logs the keys that differ. For testing or resuming, all weights must be present
    and have the right shape; for fine-tuning (``load_from`` in training), at least one.
    """

    priority = 'LOW'  # after EMAHook, which may swap the state dict

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the state dicts.

        Raises:
            CheckpointError: They do not fit; names the first keys that differ.
        """
        source = f'the last checkpoint in {runner.work_dir}'
        if runner._load_from:
            source = f'checkpoint "{runner._load_from}"'
        if runner._resume:
            missing = [k for k in TRAINING_STATE if k not in checkpoint]
            if missing:
                raise CheckpointError(
                    f'{source} has no {missing[0]}, so training cannot be resumed from it; to '
                    'start from its weights, set load_from (without --resume)'
                )
        model = unwrap(runner.model)
        state = convert_state_dict(model, checkpoint)
        difference = describe_difference(model, state)
        fine_tuning = is_training(runner) and not runner._resume
        if difference and not (fine_tuning and _some_fit(model, state)):
            raise CheckpointError(f'{source} does not fit the {type(model).__name__}: {difference}')


def _some_fit(model: nn.Module, state: Mapping[str, Tensor]) -> bool:
    return any(
        isinstance(state.get(k), Tensor) and state[k].shape == v.shape
        for k, v in model.state_dict().items()
    )
