"""Inference with trained networks."""

from .inferencer import ByotInferencer
from .model import get_model

__all__ = ['ByotInferencer', 'get_model']
