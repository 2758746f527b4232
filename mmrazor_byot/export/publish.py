"""Checkpoints for publishing: weights, plain metadata, and a hash in the name."""

import hashlib
import io
import re
from pathlib import Path
from typing import Any, Dict, Union

import mmengine
import mmpretrain
import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from mmrazor_byot.errors import CheckpointError, ConfigError
from mmrazor_byot.files import write_bytes
from mmrazor_byot.launch import load_config
from mmrazor_byot.models.loading import build_model, convert_state_dict, describe_difference
from mmrazor_byot.state_dict import bare_name
from mmrazor_byot.version import __version__
from mmrazor_byot.zoo import list_models


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
        CheckpointError: The checkpoint is damaged, has no weights, or does not fit the recipe.
        ConfigError: The folder is not writable, or the name is not that of a file.
    """
    if not re.fullmatch(r'\w[\w.+-]*', name):
        raise ConfigError(f'--name {name!r}: use letters, digits and . _ + - alone')
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')
    state = {bare_name(key): value for key, value in (loaded.get('state_dict') or {}).items()}
    if not state:
        raise CheckpointError(f'checkpoint "{checkpoint}" has no state_dict')
    _check_loads(state, name, f'checkpoint "{checkpoint}" cannot be published')
    meta = loaded.get('meta') or {}
    kept = {key: meta[key] for key in ('epoch', 'seed') if key in meta}
    data = checkpoint_bytes({**plain_meta(meta), **kept}, state)
    path = Path(out, hashed_name(name, data))
    write_bytes(path, data)
    return path


def _check_loads(state: Dict[str, Any], name: str, refusal: str) -> None:
    """Check that weights are real numbers, and those of the zoo's recipe if it has the name."""
    for key, value in state.items():
        if not isinstance(value, Tensor) or value.is_complex():
            raise CheckpointError(f'{refusal}: {key} is not a tensor of real numbers')
    for recipe in [model for model in list_models() if model.config and model.name == name]:
        network = build_model(load_config(recipe.root / str(recipe.config)))
        difference = describe_difference(network, convert_state_dict(network, state))
        if difference:
            raise CheckpointError(f'{refusal}: it does not fit the recipe {name}: {difference}')


def plain_meta(meta: Dict[str, Any]) -> Dict[str, Any]:
    """Classes and versions of a checkpoint as plain types, which ``weights_only`` loads."""
    known = (meta.get('dataset_meta') or {}).get('classes'), meta.get('CLASSES')
    classes = next((names for names in known if isinstance(names, (list, tuple)) and names), ())
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
