"""Exit policies: when to stop. They need NumPy alone."""
from .early_exit import EarlyExit, run_policy
from .file import PolicyFile, parse_policy, policy_text, read_policy
from .policies import (
    POLICY_TYPES,
    ConfidencePolicy,
    EntropyPolicy,
    ExitPolicy,
    FixedExitPolicy,
    MarginPolicy,
    PatiencePolicy,
    build_policy,
)
from .scores import agreement, confidence, entropy, margin, softmax

__all__ = [
    'ConfidencePolicy', 'EarlyExit', 'EntropyPolicy', 'ExitPolicy',
    'FixedExitPolicy', 'MarginPolicy', 'POLICY_TYPES', 'PatiencePolicy',
    'PolicyFile', 'agreement', 'build_policy', 'confidence', 'entropy',
    'margin', 'parse_policy', 'policy_text', 'read_policy', 'run_policy',
    'softmax'
]
