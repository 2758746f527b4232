"""The model zoo: list, download and verify published checkpoints.

What is in the zoo is what ``model-index.yml`` and the ``metafile.yml`` files
it imports say; there is no second list. ``Weights`` of a model is an address
(``https://``, ``http://``, ``file://``). The path of a file that ships with
the project, relative to the folder of ``model-index.yml``, stands there too,
or under ``Metadata`` as ``Shipped Weights``, as mim knows addresses only.

Two environment variables steer it:

* ``MMRAZOR_BYOT_HOME``: the cache folder. Without it the cache is
  ``mmrazor_byot`` in torch's hub folder, so ``TORCH_HOME`` moves it as well.
* ``MMRAZOR_BYOT_MIRROR``: where to look instead of the published address, as
  the ``base_url`` of :func:`download` does.

In a config, ``load_from='zoo://NAME'`` takes the same way, see
:mod:`mmrazor_byot.zoo.scheme`.

Example:
    >>> from mmrazor_byot.zoo import download, list_models, verify
    >>> [model.name for model in list_models()]
    ['byot_mmrazor_resnet18_8xb16_cifar100']
    >>> file = download('byot_mmrazor_resnet18_8xb16_cifar100')
    >>> verify(file).parameters
"""

from ..errors import ZooError
from .check import CheckedFile, load_weights, verify
from .fetch import download
from .index import ZooModel, find_model, list_models

__all__ = [
    'CheckedFile',
    'ZooError',
    'ZooModel',
    'download',
    'find_model',
    'list_models',
    'load_weights',
    'verify',
]
