"""From what a user names to the exit policy itself."""

import os
from typing import Union

from mmengine.model import BaseModel

from mmrazor_byot.early_exit import (
    ExitPolicy,
    FixedExitPolicy,
    build_policy,
    read_policy,
)

#: A policy, its config, or a policy file; None: as ``predict`` answers.
Policy = Union[ExitPolicy, dict, str, os.PathLike, None]


def choose_policy(policy: Policy, model: BaseModel) -> ExitPolicy:
    """Build or read a policy, and see that it fits a network.

    Args:
        policy (ExitPolicy | dict | str | None): The policy, its config, a policy file, or None for
            what ``predict_with`` of the model says.
        model (BaseModel): A BYOT network.

    Returns:
        ExitPolicy: The policy.

    Raises:
        ConfigError: There is no such policy, or it is for another network.
    """
    if policy is None:
        policy = _as_predict(model)
    elif isinstance(policy, (str, os.PathLike)):
        file = read_policy(policy)
        file.check(model.num_exits, model.num_classes)
        policy = file.policy
    elif not isinstance(policy, ExitPolicy):
        policy = build_policy(policy)
    policy.check(model.num_exits)
    return policy


def _as_predict(model: BaseModel) -> ExitPolicy:
    answer = getattr(model, 'predict_with', 'deepest')
    if answer == 'ensemble':
        return FixedExitPolicy(ensemble=True)
    return FixedExitPolicy(-1 if answer == 'deepest' else answer)
