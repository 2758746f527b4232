"""Checks of the weights in a state dict."""

import math
import re
from collections import OrderedDict
from typing import Any, List, Mapping, Optional

import torch
from torch import Tensor, nn

from .errors import CheckpointError

#: Ends of names whose tensors are floating point in every network.
_FLOATS = ('.weight', '.bias', '.running_mean', '.running_var')


def bare_name(key: str) -> str:
    """A weight's name without the ``module.`` of DDP and the ``_orig_mod.`` of torch.compile."""
    return re.sub(r'^(module\.)+', '', re.sub(r'(?<![^.])_orig_mod\.', '', key))


def check_state_dict(state: Any, source: str) -> None:
    """Check that the tensors of a state dict can be weights.

    Args:
        state (Mapping[str, Any]): Names and tensors; other values are not looked at.
        source (str): What it is, for the error.

    Raises:
        CheckpointError: It is not a dict, has a name twice, with and without a wrapper's prefix, or
            a tensor that is not dense, not of the right kind or not finite, or a negative variance.
    """
    if not isinstance(state, Mapping):
        kind = 'None' if state is None else f'a {type(state).__name__}'
        raise CheckpointError(
            f"{source} is {kind}, not a dict of tensors: save a model's state_dict() in it"
        )
    names: dict = {}
    for key, value in state.items():
        if not isinstance(key, str):
            raise CheckpointError(f'{source} has the key {key!r}, which is not a name')
        name = bare_name(key)
        if name in names:
            raise CheckpointError(
                f'{source} has one weight twice, as {names[name]} and {key}: remove one of them'
            )
        names[name] = key
        problem = _find_problem(f'.{key}', value) if isinstance(value, Tensor) else None
        if problem:
            raise CheckpointError(f'{source} cannot be used: {key} {problem}')


def _find_problem(key: str, value: Tensor) -> Optional[str]:
    value = value.detach()
    if value.is_meta:
        return 'is a meta tensor, which has no values: save the weights themselves'
    if value.is_quantized:
        return f'is quantized ({value.dtype}): save value.dequantize()'
    if value.is_nested or value.layout != torch.strided:
        return f'is sparse or nested ({value.layout}): save value.to_dense()'
    if not value.is_floating_point() and not value.is_complex():
        return f'is {value.dtype}, not floating point' if key.endswith(_FLOATS) else None
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    value = value.float()  # fp8 has no sum, and what fp32 cannot hold would be infinite in a model
    # The sum is not finite if one of the values is not; the test of each value takes longer.
    if not math.isfinite(value.sum()) and not value.isfinite().all():
        return 'has NaN or infinite values: use a checkpoint from before the training diverged'
    if key.endswith('.running_var') and (value < 0).any():
        return 'has negative variances: the file is damaged'
    return None


def other_types(own: Mapping[str, Tensor], state: Mapping[str, Any]) -> List[str]:
    """Describe the tensors that would be cast to another kind of number in a model.

    Precision may differ, and so may counters of batches.
    """
    return [
        f'{key} is {state[key].dtype}, not {value.dtype}'
        for key, value in own.items()
        if isinstance(state.get(key), Tensor)
        and _kind(state[key]) != _kind(value)
        and not key.endswith('num_batches_tracked')
    ]


def describe_difference(model: nn.Module, state: Mapping[str, Any], first: int = 3) -> str:
    """The first keys of a state dict that do not fit; empty if it fits."""
    own = model.state_dict()
    differences = {
        'missing': [k for k in own if k not in state and not k.endswith('_tracked')],
        'unexpected': [k for k in state if k not in own],
        'other shapes': [
            f'{k} is {_shape(state[k])}, not {_shape(own[k])}'
            for k in own
            if k in state and _shape(state[k]) != _shape(own[k])
        ],
        'other types': other_types(own, state),
    }
    descriptions = []
    for kind, keys in differences.items():
        if keys:
            more = f' and {len(keys) - first} more' if len(keys) > first else ''
            descriptions.append(f'{kind}: {", ".join(keys[:first])}{more}')
    return '; '.join(descriptions)


def _shape(value: Any) -> object:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value)


def rename_like(model: nn.Module, state: Mapping[str, Any]) -> 'OrderedDict[str, Any]':
    """Rename weights that differ from a model's in what wrappers add to the names."""
    own = {bare_name(key): key for key in model.state_dict()}
    renamed = OrderedDict(
        (own.get(bare_name(str(key)), bare_name(str(key))), value) for key, value in state.items()
    )
    # Versions of the modules, by which torch converts old weights.
    renamed._metadata = getattr(state, '_metadata', OrderedDict())  # type: ignore[attr-defined]
    return renamed


def _kind(value: Tensor) -> str:
    return 'complex' if value.is_complex() else 'float' if value.is_floating_point() else 'integer'
