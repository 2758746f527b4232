"""Be Your Own Teacher (arXiv 1905.08094) for OpenMMLab.

Importing this package imports nothing heavy: it only sets up :mod:`mmrazor_byot.compat`, so that
the OpenMMLab packages imported after it work on today's torch.
"""

from .compat import install
from .version import __version__

install()

__all__ = ['__version__']
