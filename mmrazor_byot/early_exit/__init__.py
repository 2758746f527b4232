"""Early exit: policies, and networks that can stop after any section."""

from .base import POLICY_TYPES, ExitPolicy, build_policy
from .policies import (
    ConfidencePolicy,
    EntropyPolicy,
    FixedExitPolicy,
    MarginPolicy,
    PatiencePolicy,
    ThresholdPolicy,
)
from .policy_file import PolicyFile, parse_policy, policy_text, read_policy
from .run import EarlyExit, RecordedNetwork, run_policy
from .scores import agreement, confidence, entropy, margin, softmax
from .staged_network import StagedNetwork

__all__ = [
    'ConfidencePolicy',
    'EarlyExit',
    'EntropyPolicy',
    'ExitPolicy',
    'FixedExitPolicy',
    'MarginPolicy',
    'POLICY_TYPES',
    'PatiencePolicy',
    'PolicyFile',
    'RecordedNetwork',
    'StagedNetwork',
    'ThresholdPolicy',
    'agreement',
    'build_policy',
    'confidence',
    'entropy',
    'margin',
    'parse_policy',
    'policy_text',
    'read_policy',
    'run_policy',
    'softmax',
]
