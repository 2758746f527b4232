"""The one thing that hooks must do to look at a model."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, taken out of DDP or another wrapper."""
    return model.module if is_model_wrapper(model) else model
