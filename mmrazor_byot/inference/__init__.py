"""Trained networks at work: stages, and answers for images."""

from typing import Any

from mmrazor_byot.policies import POLICY_TYPES
from mmrazor_byot.registry import POLICIES

from .staged import StagedNetwork

for policy in POLICY_TYPES.values():
    POLICIES.register_module(module=policy)

__all__ = ['ByotInferencer', 'StagedNetwork']


def __getattr__(name: str) -> Any:
    """The inferencer, when it is asked for: it imports much."""
    if name == 'ByotInferencer':
        from .inferencer import ByotInferencer

        return ByotInferencer
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
