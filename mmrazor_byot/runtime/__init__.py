"""Run an exported network with ONNX Runtime, NumPy and Pillow, without torch and OpenMMLab.

python -m mmrazor_byot.runtime model.onnx IMAGE|FOLDER...
"""

from .metadata import Metadata
from .model import EarlyExitModel, Result
from .results import ExitResult

__all__ = ['EarlyExitModel', 'ExitResult', 'Metadata', 'Result']
