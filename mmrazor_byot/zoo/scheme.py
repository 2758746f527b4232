"""``zoo://NAME`` as the address of a checkpoint, anywhere in MMEngine.

Importing ``mmrazor_byot`` makes MMEngine know it (see ``compat.py``): the
``load_from`` of a config, the ``checkpoint`` of an ``init_cfg`` and
:func:`load_checkpoint` take it::

    load_from = 'zoo://byot_mmrazor_resnet18_8xb16_cifar100'

The file is downloaded into the cache folder once, by the same function as
``tools/model_zoo.py download``, and loaded without running code from it.
"""

import os
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, get_dist_info

from ..errors import ZooError
from .check import load_weights
from .fetch import cached_file, download
from .index import find_model

PREFIX = 'zoo://'


def load_from_zoo(filename: str, map_location: Any = None) -> Any:
    """Load a checkpoint of the zoo, downloading it if need be.

    Args:
        filename: ``zoo://NAME``.
        map_location: As in :func:`torch.load`.

    Returns:
        The checkpoint, as :func:`torch.load` gives it.

    Raises:
        ZooError: On every process, if one could not get the file.
    """
    return load_weights(_fetch_once_a_node(filename[len(PREFIX) :]), map_location)


def _fetch_once_a_node(name: str) -> Path:
    """Download on the first process of each node while the others wait.

    All processes tell each other how it went, which is what they wait for:
    an error ends all of them alike, and leaves none waiting. They wait no
    longer than the process group's timeout, so fetch a big file over a slow
    line with ``tools/model_zoo.py download`` before the training.
    """
    _, world_size = get_dist_info()
    if world_size == 1:
        return download(name)
    error = None
    # Where the launcher gives no local rank, all processes try, one after
    # the other: the lock on the download lets only the first fetch it.
    if int(os.getenv('LOCAL_RANK', '0')) == 0:
        try:
            download(name)
        except Exception as caught:
            error = str(caught) or type(caught).__name__
    errors = [text for text in all_gather_object(error) if text is not None]
    if errors:
        raise ZooError(errors[0])
    return cached_file(find_model(name))
