"""What all rooms share: samples of a batch, an exit's output, a size."""

from .batch_samples import BatchSamples
from .exit_output import ExitOutput
from .image_size import image_size
from .targets import stack_targets

__all__ = ['BatchSamples', 'ExitOutput', 'image_size', 'stack_targets']
