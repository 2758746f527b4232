from .algorithms import *  # noqa: F401,F403
from .backbones import *  # noqa: F401,F403
from .data_preprocessors import *  # noqa: F401,F403
from .ema import ExponentialMovingAverage
from .heads import *  # noqa: F401,F403
from .losses import *  # noqa: F401,F403
from .torch_classifier import TorchClassifier
