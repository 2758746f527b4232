"""Exit policies: when to stop."""

from .base import POLICY_TYPES, ExitPolicy, build_policy
from .early_exit import EarlyExit, RecordedNetwork, run_policy
from .fixed_exit import FixedExitPolicy
from .patience import PatiencePolicy
from .policy_file import PolicyFile, parse_policy, policy_text, read_policy
from .scores import agreement, confidence, entropy, margin, softmax
from .thresholds import ConfidencePolicy, EntropyPolicy, MarginPolicy

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
