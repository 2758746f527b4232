"""Safe loading of checkpoints, and atomic writing."""

import codecs
import functools
import hashlib
import os
import pickle
import re
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, Dict
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from .download import download, hash_in_name, name_in_url, once_per_node
from .errors import CheckpointError
from .files import PathLike, sha256, write_bytes
from .state_dict import check_state_dict

# Stubs for classes that a file may name but not call.
_NDARRAY = object()
_ONE_CYCLE = object()
#: NumPy's kinds of a fixed size: a file could give strings one that is negative.
_NUMPY_KINDS = np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?mM'


def allow_mmengine_globals() -> None:
    """Let ``torch.load(weights_only=True)`` read MMEngine's checkpoints.

    Its message hub pickles ``HistoryBuffer`` objects: NumPy arrays, and their statistics methods by
    ``getattr(HistoryBuffer, 'mean')``. Schedulers may hold NumPy scalars, OneCycleLR its annealing
    function. Whatever could do more is restricted: ``getattr`` returns those methods only, and
    arrays start empty, because ``numpy.ndarray`` itself can be given any memory as its buffer.
    """
    allowed: Dict[str, Any] = {  # by their full name in the file
        '_codecs.encode': codecs.encode,  # how pickle writes bytes
        'builtins.getattr': _known_method,
        'collections.Counter': Counter,  # milestones of MultiStepLR
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler': _ONE_CYCLE,
        'numpy.ndarray': _NDARRAY,
        # No file can name this; torch checks the type of an array before it sets its state.
        'ndarray': np.ndarray,
        'numpy.dtype': np.dtype,
    }
    for package in ('numpy.core', 'numpy._core'):  # NumPy 1 and NumPy 2
        allowed[f'{package}.multiarray._reconstruct'] = _empty_array
        allowed[f'{package}.multiarray.scalar'] = np.float64(0).__reduce__()[0]
    for kind in _NUMPY_KINDS:
        dtype = type(np.dtype(kind))  # numpy.dtypes.Float64DType and so on
        allowed[f'{dtype.__module__}.{dtype.__qualname__}'] = dtype
    torch.serialization.add_safe_globals([(value, name) for name, value in allowed.items()])


def _empty_array(kind: Any, shape: Any, dtype: Any) -> np.ndarray:
    if kind is not _NDARRAY:
        raise pickle.UnpicklingError(f'Unsupported: {kind}')
    return np.ndarray((0,), 'b')


def _known_method(owner: Any, name: str) -> Any:
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    if owner is _ONE_CYCLE and name in ('_annealing_cos', '_annealing_linear'):
        return getattr(OneCycleParamScheduler, name)
    raise pickle.UnpicklingError(f'Unsupported: getattr of {name!r}')


allow_mmengine_globals()


def load_from_address(filename: str, map_location: Any = None) -> dict:
    """Load a checkpoint from a file or URL without running code; replaces MMEngine's loaders.

    Args:
        filename (str): A path; a ``file://``, ``http://`` or ``https://`` URL, which is cached in
            torch.hub's folder; or a name that MMEngine has a URL for: ``torchvision://resnet18``.
        map_location: As in :func:`torch.load`. Defaults to None.

    Raises:
        CheckpointError: The address is of another kind, or see :func:`load_from_local`.
    """
    found = re.match(r'(?:[\w.-]+:)?([\w+.-]+)://(.*)', filename, re.DOTALL)  # also c:s3://
    if not found:
        return load_from_local(filename, map_location)
    scheme, name = found[1].lower(), found[2]
    if scheme == 'file':
        return load_from_local(url2pathname(urlsplit(filename).path), map_location)
    if scheme in ('http', 'https'):
        return _load_from_url(filename, map_location)
    if scheme in ('torchvision', 'modelzoo', 'openmmlab', 'open-mmlab', 'mmcls'):
        return _load_by_name(scheme, name, map_location)
    raise CheckpointError(
        f'checkpoint "{filename}": {scheme}:// is not supported, as nothing checks what it loads; '
        'download the file and give its path'
    )


def _load_by_name(scheme: str, name: str, map_location: Any) -> dict:
    from mmengine.runner import checkpoint as mmengine_checkpoint

    tables = dict(
        mmcls=mmengine_checkpoint.get_mmcls_models,
        openmmlab=mmengine_checkpoint.get_external_models,
    )
    get_urls = tables.get(scheme.replace('-', ''), mmengine_checkpoint.get_torchvision_models)
    urls, renamed = get_urls(), mmengine_checkpoint.get_deprecated_model_names()
    url = urls.get(name) or urls.get(renamed.get(name))
    if url is None:
        raise CheckpointError(
            f'checkpoint "{scheme}://{name}": MMEngine knows no URL of that name; check the name, '
            'or download the file and give its path'
        )
    checkpoint = load_from_address(url, map_location)
    if scheme == 'mmcls':
        return mmengine_checkpoint._process_mmcls_checkpoint(checkpoint)
    return checkpoint


def _load_from_url(url: str, map_location: Any) -> dict:
    name = name_in_url(url)
    if name.strip('.') == '':
        raise CheckpointError(f'checkpoint "{url}": the URL ends in no name of a file')
    folder, check = Path(torch.hub.get_dir(), 'checkpoints'), None
    if not hash_in_name(name):
        # Another server may have another file of that name, or a page that says sorry.
        folder /= hashlib.sha256(url.encode()).hexdigest()[:16]
        check = functools.partial(_read, source=url)
    once_per_node(lambda: download(url, folder / name, check=check))
    return load_from_local(str(folder / name), map_location)


def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Load a checkpoint file without running code.

    Raises:
        CheckpointError: The file is missing, truncated, not a checkpoint, does not have the hash in
            its name, or carries more than weights and training state; or its weights cannot be
            used, see :func:`mmrazor_byot.state_dict.check_state_dict`.
    """
    file = Path(os.path.expanduser(filename))
    if not os.path.isfile(file):  # pathlib raises an OSError for names that are too long
        raise CheckpointError(f'checkpoint "{file}" does not exist; check the path')
    if not os.access(file, os.R_OK):
        raise CheckpointError(f'checkpoint "{file}" cannot be read: no permission')
    expected = hash_in_name(file.name)
    if expected and not (digest := sha256(file)).startswith(expected):
        raise CheckpointError(
            f'checkpoint "{file}" is damaged or renamed: its sha256 is {digest}, not '
            f'{expected}...; download it again, or give it a name without a hash'
        )
    return _read(file, str(file), map_location)


def _read(file: Path, source: str, map_location: Any = 'cpu') -> dict:
    source = f'checkpoint "{source}"'
    try:
        with warnings.catch_warnings():  # about formats that are refused, or read nevertheless
            warnings.simplefilter('ignore')
            checkpoint = _load_file(file, map_location)
    except pickle.UnpicklingError as e:
        raise _refused(file, source, str(e)) from e
    except CheckpointError:
        raise
    except Exception as e:  # a truncated file can raise anything
        raise _broken(file, source, str(e) or type(e).__name__) from e
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{source} holds a {type(checkpoint).__name__}, not a checkpoint (a dict with '
            '"state_dict", or a state dict)'
        )
    for key in ('model', 'model_state_dict'):  # where scripts other than MMEngine's save them
        if 'state_dict' not in checkpoint and isinstance(checkpoint.get(key), dict):
            checkpoint['state_dict'] = checkpoint.pop(key)
    check_state_dict(checkpoint.get('state_dict', checkpoint), f'the state_dict of {source}')
    check_state_dict(checkpoint.get('ema_state_dict', {}), f'the ema_state_dict of {source}')
    meta = _get_dict(checkpoint, 'meta', source)
    _get_dict(meta, 'dataset_meta', source)
    meta.pop('config', None)  # text of a config, which MMEngine would run to resume
    return checkpoint


def _load_file(file: Path, map_location: Any) -> Any:
    if '.safetensors' not in file.name:  # while it is downloaded, its name is longer
        return torch.load(file, map_location=map_location, weights_only=True)
    try:
        from safetensors.torch import load_file
    except ImportError as e:
        raise CheckpointError(f'"{file}" needs safetensors ({e}): pip install safetensors') from e
    return load_file(file, 'cpu')


def _get_dict(owner: dict, key: str, source: str) -> dict:
    value = owner.get(key)
    if value is not None and not isinstance(value, dict):
        raise CheckpointError(f'the {key} of {source} is a {type(value).__name__}, not a dict')
    return value or {}


def _refused(file: Path, source: str, reason: str) -> CheckpointError:
    found = re.search(
        r"(?:GLOBAL|Unsupported global:|Unsupported:|but got <class) '?(?!GLOBAL)([\w.]+)", reason
    )
    if found:
        return CheckpointError(
            f'{source} was not loaded: it carries "{found.group(1)}", which is neither a weight '
            'nor training state, and loading it can run code. Ask its author for a file with the '
            'weights only.'
        )
    # torch's text before this advises to load the file without the check.
    _, _, detail = reason.rpartition('WeightsUnpickler error:')
    return _broken(file, source, detail.strip() or 'it is not a zip archive')


def _broken(file: Path, source: str, reason: str) -> CheckpointError:
    reason = reason.strip().splitlines()[0][:120]
    if zipfile.is_zipfile(file):
        return CheckpointError(
            f'{source} is whole, but cannot be read: {reason}. Save the weights again by '
            'torch.save with its default settings'
        )
    return CheckpointError(
        f'{source} ({file.stat().st_size} bytes) is truncated or not a checkpoint; copy or '
        f'download it again. ({reason})'
    )


@register_backend('local', force=True, prefixes='')
@register_backend('atomic', force=True)
class AtomicBackend(LocalBackend):
    """Local files, written to a temporary file first and then renamed.

    MMEngine's own writes in place, so a crash or a full disk leaves a truncated file under its
    final name. This one takes its place; configs may also name it:
    ``checkpoint=dict(type='CheckpointHook', backend_args=dict(backend='atomic'))``.
    """

    def put(self, obj: bytes, filepath: PathLike) -> None:
        """Write bytes to a file; see :func:`mmrazor_byot.files.atomic_path`."""
        write_bytes(filepath, obj)

    def put_text(self, obj: str, filepath: PathLike, encoding: str = 'utf-8') -> None:
        """Write text to a file."""
        write_bytes(filepath, obj.encode(encoding))
