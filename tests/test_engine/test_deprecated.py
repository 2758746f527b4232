"""Names of version 0.1 that are MMEngine's classes."""

import pytest
import torch
from mmengine import hooks, optim

from mmrazor_byot.registry import HOOKS, OPTIM_WRAPPERS


def test_old_names_warn_once():
    sgd = torch.optim.SGD([torch.ones(1)], lr=0.1)
    for registry, base, settings in (
        (HOOKS, hooks.IterTimerHook, {}),
        (OPTIM_WRAPPERS, optim.OptimWrapper, dict(optimizer=sgd)),
    ):
        with pytest.warns(FutureWarning, match=base.__name__) as caught:
            built = registry.build(dict(type=f'mmrazor_byot.{base.__name__}', **settings))
        assert len(caught) == 1
        assert isinstance(built, base)
