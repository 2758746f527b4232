"""Runs an exported network: ONNX Runtime, NumPy and Pillow; neither torch nor an OpenMMLab package.

python -m mmrazor_byot.runtime model.onnx IMAGE|FOLDER...
"""

from .metadata import Metadata
from .model import EarlyExitModel, Result

__all__ = ['EarlyExitModel', 'Metadata', 'Result']
