"""Checkpoints for publishing: weights, plain metadata, and a hash in the name."""

import hashlib
import io
from pathlib import Path
from typing import Any, Dict, Union

import mmengine
import mmpretrain
import torch
from mmengine.runner import CheckpointLoader

from mmrazor_byot.errors import CheckpointError
from mmrazor_byot.files import write_bytes
from mmrazor_byot.version import __version__


def publish(checkpoint: str, out: Union[str, Path], name: str) -> Path:
    """Publish the weights of a training checkpoint, with all exits.

    Optimizer, message hub and schedulers are left out; the weights keep their dtypes.

    Args:
        checkpoint (str): File or URL of the training checkpoint.
        out (str | Path): Folder to write to; created if it does not exist.
        name (str): Name of the recipe.

    Returns:
        Path: ``NAME-HASH.pth``, with the first 8 digits of its sha256.

    Raises:
        CheckpointError: The checkpoint is damaged, or has no weights.
        ConfigError: The folder is not writable.
    """
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')
    state = loaded.get('state_dict')
    if not state:
        raise CheckpointError(f'checkpoint "{checkpoint}" has no state_dict')
    meta = loaded.get('meta') or {}
    kept = {key: meta[key] for key in ('epoch', 'seed') if key in meta}
    data = checkpoint_bytes({**plain_meta(meta), **kept}, state)
    path = Path(out, hashed_name(name, data))
    write_bytes(path, data)
    return path


def plain_meta(meta: Dict[str, Any]) -> Dict[str, Any]:
    """Classes and versions of a checkpoint as plain types, which ``weights_only`` loads."""
    classes = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES')
    dataset = dict(dataset_meta=dict(classes=tuple(map(str, classes)))) if classes else {}
    return dict(
        **dataset,
        mmrazor_byot_version=__version__,
        mmpretrain_version=mmpretrain.__version__,
        mmengine_version=mmengine.__version__,
        torch_version=str(torch.__version__),
    )


def checkpoint_bytes(meta: Dict[str, Any], state: Dict[str, Any]) -> bytes:
    """Serialize a checkpoint."""
    buffer = io.BytesIO()  # torch.save to a path would store the file name
    torch.save(dict(meta=meta, state_dict=state), buffer)
    return buffer.getvalue()


def hashed_name(stem: str, data: bytes) -> str:
    """``STEM-HASH.pth``, as OpenMMLab names published files."""
    return f'{stem}-{hashlib.sha256(data).hexdigest()[:8]}.pth'
