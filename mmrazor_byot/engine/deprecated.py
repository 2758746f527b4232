"""Deprecated names in configs of version 0.1; MMEngine's classes replace them."""

import warnings
from typing import Any

from mmengine.hooks import IterTimerHook as MMEngineIterTimerHook
from mmengine.optim import OptimWrapper as MMEngineOptimWrapper

from mmrazor_byot.errors import DeprecatedWarning
from mmrazor_byot.registry import HOOKS, OPTIM_WRAPPERS


def _warn(name: str) -> None:
    message = f"mmrazor_byot.{name} is deprecated: use {name}, which is MMEngine's"
    warnings.warn(message, DeprecatedWarning, stacklevel=3)


@HOOKS.register_module()
class IterTimerHook(MMEngineIterTimerHook):
    """Deprecated: use MMEngine's."""

    def __init__(self) -> None:
        _warn('IterTimerHook')
        super().__init__()


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(MMEngineOptimWrapper):
    """Deprecated: use MMEngine's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _warn('OptimWrapper')
        super().__init__(*args, **kwargs)
