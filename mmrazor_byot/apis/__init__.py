"""Trained networks at work: answers for images."""

from .inferencer import ByotInferencer
from .model import get_model

__all__ = ['ByotInferencer', 'get_model']
