from .deprecated import IterTimerHook, OptimWrapper
from .hooks import *  # noqa: F401,F403
from .optim_wrappers import AmpOptimWrapper
