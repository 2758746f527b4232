"""Refuses a checkpoint of another network, instead of loading half of it."""

import re
from typing import Dict, List

from mmengine.hooks import Hook
from torch import Tensor, nn

from mmrazor_byot.errors import CheckpointError
from mmrazor_byot.registry import HOOKS

from .unwrap import unwrap

TRAINING_STATE = ('meta', 'message_hub', 'optimizer')


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Compares a checkpoint with the model before it is loaded.

    MMEngine only logs the keys that differ and goes on. To test or to resume, every weight must be
    there and fit. To fine-tune (``load_from`` when training) some must.
    """

    priority = 'LOW'  # behind EMAHook, which may swap the state dict

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Compare.

        Args:
            runner (Runner): With the model.
            checkpoint (dict): As read from the file.

        Raises:
            CheckpointError: It does not fit; names the first keys that differ.
        """
        source = (
            f'checkpoint "{runner._load_from}"'
            if runner._load_from
            else f'the last checkpoint in {runner.work_dir}'
        )
        if runner._resume:
            missing = [k for k in TRAINING_STATE if k not in checkpoint]
            if missing:
                raise CheckpointError(
                    f'{source} has no {missing[0]}, so training cannot be resumed from it; to '
                    'start from its weights, set load_from (without --resume)'
                )
        model = unwrap(runner.model)
        state = state_for(model, checkpoint)
        difference = describe_difference(model, state)
        # A train loop is built before its checkpoint loads; a tester's never.
        training = not isinstance(runner._train_loop, (dict, type(None)))
        fine_tuning = training and not runner._resume
        if difference and not (fine_tuning and _some_fit(model, state)):
            raise CheckpointError(f'{source} does not fit the {type(model).__name__}: {difference}')


def state_for(model: nn.Module, checkpoint: dict) -> Dict[str, Tensor]:
    """The weights of a checkpoint under the names that a model gives them.

    Args:
        model (nn.Module): The model.
        checkpoint (dict): With ``state_dict``, or a state dict itself; of a wrapped model too, and
            for BYOT of MMRazor's.
    """
    state = {
        re.sub(r'^module\.', '', str(key)): value
        for key, value in checkpoint.get('state_dict', checkpoint).items()
    }
    if hasattr(model, 'convert_state_dict'):  # BYOT reads MMRazor's too
        state = model.convert_state_dict(state)
    return state


def describe_difference(model: nn.Module, state: Dict[str, Tensor], first: int = 3) -> str:
    """Say how a state dict differs from a model's.

    Args:
        model (nn.Module): The model.
        state (dict[str, Tensor]): The state dict.
        first (int): How many keys to name of each kind.

    Returns:
        str: Empty where it fits.
    """
    own = model.state_dict()
    missing = [k for k in own if k not in state and not k.endswith('_tracked')]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f'{k} is {_shape(state[k])}, not {_shape(own[k])}'
        for k in own
        if k in state and _shape(state[k]) != _shape(own[k])
    ]
    return '; '.join(
        _list(kind, keys, first)
        for kind, keys in (
            ('missing', missing),
            ('unexpected', unexpected),
            ('other shapes', shapes),
        )
        if keys
    )


def _shape(value) -> object:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value)


def _list(kind: str, keys: List[str], first: int) -> str:
    more = f' and {len(keys) - first} more' if len(keys) > first else ''
    return f'{kind}: {", ".join(keys[:first])}{more}'


def _some_fit(model: nn.Module, state: Dict[str, Tensor]) -> bool:
    return any(
        isinstance(state.get(k), Tensor) and state[k].shape == v.shape
        for k, v in model.state_dict().items()
    )
