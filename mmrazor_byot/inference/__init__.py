"""Trained networks at work: stages, calibration, answers for images."""
from mmrazor_byot.policies import POLICY_TYPES
from mmrazor_byot.registry import POLICIES

from .calibration_data import calibration_loader
from .staged import StagedNetwork

for policy in POLICY_TYPES.values():
    POLICIES.register_module(module=policy)

__all__ = ['StagedNetwork', 'calibration_loader']
