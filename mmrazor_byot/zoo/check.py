"""Is a checkpoint what its name says, and weights and nothing else?"""

import hashlib
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from ..errors import CheckpointError, ZooError
from .address import hash_in_name

# The state of batch normalisation is saved with the weights but not learned.
_BUFFERS = ('running_mean', 'running_var', 'num_batches_tracked')


@dataclass(frozen=True)
class CheckedFile:
    """What :func:`verify` found.

    Attributes:
        path: The file.
        size: Its length in bytes.
        sha256: The hash of its content, 64 digits.
        promised: The beginning of the hash in its name; None if the name
            has none, and then nothing was compared.
        tensors: Number of tensors in its state dict.
        parameters: Number of values in them, without the running statistics
            of batch normalisation.
        meta: The metadata that MMEngine saves under ``meta``.
        others: What else is in the file, such as an optimizer's state.
    """

    path: Path
    size: int
    sha256: str
    promised: Optional[str]
    tensors: int
    parameters: int
    meta: Dict[str, Any] = field(default_factory=dict)
    others: List[str] = field(default_factory=list)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, 64 digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as stream:
        for block in iter(lambda: stream.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def verify(path: Union[str, Path]) -> CheckedFile:
    """Check a checkpoint: its hash, and that it is weights and no code.

    Args:
        path: A file, downloaded or one's own.

    Returns:
        What is in it.

    Raises:
        ZooError: If the content does not fit the hash in the name, if
            loading it would run code, or if it is no checkpoint.
    """
    path = Path(path).expanduser()
    promised = hash_in_name(path.name)
    try:
        size, digest = path.stat().st_size, sha256_of(path)
    except OSError as error:
        raise ZooError(f'can not read {path}: {error.strerror}') from error
    if promised is not None and not digest.startswith(promised):
        raise ZooError(
            f'{path} is damaged or renamed: its sha256 begins with '
            f'{digest[: len(promised)]}, its name says {promised}. '
            'Download it again'
        )
    checkpoint = load_weights(path)
    state = _state_dict(checkpoint, path)
    extra = checkpoint if state is not checkpoint else {}
    meta = extra.get('meta')
    return CheckedFile(
        path=path,
        size=size,
        sha256=digest,
        promised=promised,
        tensors=len(state),
        parameters=sum(
            tensor.numel() for key, tensor in state.items() if not key.endswith(_BUFFERS)
        ),
        meta=dict(meta) if isinstance(meta, dict) else {},
        others=sorted(str(key) for key in extra if key not in ('state_dict', 'meta')),
    )


def load_weights(path: Union[str, Path], map_location: Any = 'cpu') -> Any:
    """Load a checkpoint without ever running code from it.

    Args:
        path: The file.
        map_location: As in :func:`torch.load`.

    Raises:
        ZooError: If it holds more than weights and training state, or is no
            checkpoint.
    """
    # Here, because it needs torch, and listing and downloading do without.
    from ..checkpoint import load_from_local

    try:
        with warnings.catch_warnings():
            # torch warns of pickle protocols that it then refuses.
            warnings.simplefilter('ignore')
            return load_from_local(str(path), map_location)
    except CheckpointError as error:
        raise ZooError(str(error)) from error


def _state_dict(checkpoint: Any, path: Path) -> Dict[str, Any]:
    """The tensors by name: under ``state_dict``, or the file itself."""
    state = checkpoint
    if isinstance(checkpoint, dict) and 'state_dict' in checkpoint:
        state = checkpoint['state_dict']
    if (
        not isinstance(state, dict)
        or not state
        or not all(
            isinstance(key, str) and hasattr(tensor, 'numel') for key, tensor in state.items()
        )
    ):
        raise ZooError(
            f'{path} holds no state dict, that is tensors by '
            "name: save a model's state_dict() in it"
        )
    return state
