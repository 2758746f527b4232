"""Where a checkpoint comes from, and where it is kept."""

import os
import re
from pathlib import Path
from typing import Optional, Union
from urllib.parse import quote, urlsplit

from ..errors import ZooError
from .index import ZooModel

MIRROR_HINT = (
    'check the network and the address, or name another place: '
    '--mirror BASE, base_url in Python, or MMRAZOR_BYOT_MIRROR in '
    'the environment'
)
# OpenMMLab's convention: the first 8 digits of the sha256 end the name.
_HASH_IN_NAME = re.compile(r'-([0-9a-fA-F]{8,64})\.\w+$')


def hash_in_name(file_name: str) -> Optional[str]:
    """The beginning of the sha256 that a file's name promises.

    Example:
        >>> hash_in_name('byot_resnet18_20220817_191217-0251084e.pth')
        '0251084e'
        >>> hash_in_name('epoch_1.pth') is None
        True
    """
    found = _HASH_IN_NAME.search(file_name)
    return found.group(1).lower() if found else None


def cache_dir() -> Path:
    """The folder that keeps downloads nobody gave another place for.

    ``$MMRAZOR_BYOT_HOME`` if set, else ``mmrazor_byot`` in the folder that
    :func:`torch.hub.get_dir` names. Its rule is repeated here because
    importing torch takes seconds and nothing else here needs it.
    """
    home = os.getenv('MMRAZOR_BYOT_HOME')
    if home:
        return Path(home).expanduser()
    cache = os.getenv('XDG_CACHE_HOME', '~/.cache')
    torch_home = os.getenv('TORCH_HOME', os.path.join(cache, 'torch'))
    return Path(torch_home).expanduser() / 'hub' / 'mmrazor_byot'


def source_url(model: ZooModel, base_url: Union[str, Path, None] = None) -> str:
    """The address to fetch a model's checkpoint from.

    A mirror replaces everything before the file's name:
    ``https://host/a/b/FILE`` becomes ``BASE/FILE``. A file that ships with
    the project is taken from there, mirror or not.

    Args:
        model: The model.
        base_url: The mirror: an ``http://``, ``https://`` or ``file://``
            address, or a folder. Defaults to ``$MMRAZOR_BYOT_MIRROR``.

    Returns:
        An ``http``, ``https`` or ``file`` address.

    Raises:
        ZooError: If the model has no weights, or an address is of another
            kind.
    """
    if model.weights is None:
        raise ZooError(
            f'no weights of {model.name} are published: train them '
            f'with {model.config or "its config"}'
        )
    if model.shipped is not None:
        return model.shipped.absolute().as_uri()
    base = str(base_url or os.getenv('MMRAZOR_BYOT_MIRROR') or '')
    if not base:
        return _supported(model.weights)
    if '://' not in base:
        base = Path(base).expanduser().absolute().as_uri()
    return _supported(f'{base.rstrip("/")}/{quote(model.file_name)}')


def _supported(url: str) -> str:
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise ZooError(f'{url!r} is no address ({error}): {MIRROR_HINT}') from error
    if scheme not in ('http', 'https', 'file'):
        raise ZooError(
            f'can not fetch {url}: give an address that begins '
            'with https://, http:// or file://, or a folder'
        )
    return url
