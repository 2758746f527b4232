"""Safe loading of checkpoints, and atomic writing."""

import codecs
import os
import pickle
import re
from collections import Counter
from typing import Any, Dict

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from .errors import CheckpointError
from .files import PathLike, write_bytes

# Stubs for classes that a file may name but not call.
_NDARRAY = object()
_ONE_CYCLE = object()


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
    for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_):
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


def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Load a checkpoint file without running code; replaces MMEngine's loader of local files.

    Raises:
        CheckpointError: The file is missing, truncated, not a checkpoint, or carries more than
            weights and training state.
    """
    filename = os.path.expanduser(filename)
    if not os.path.isfile(filename):
        raise CheckpointError(f'checkpoint "{filename}" does not exist; check the path')
    try:
        checkpoint = torch.load(filename, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as e:
        raise _refused(filename, str(e)) from e
    except Exception as e:  # a truncated file can raise anything
        raise _broken(filename, str(e) or type(e).__name__) from e
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'"{filename}" holds a {type(checkpoint).__name__}, not a checkpoint (a dict with '
            '"state_dict", or a state dict)'
        )
    return checkpoint


def _refused(filename: str, reason: str) -> CheckpointError:
    found = re.search(r'(?:GLOBAL|Unsupported global:|Unsupported:) (?!GLOBAL)([\w.]+)', reason)
    if found:
        return CheckpointError(
            f'checkpoint "{filename}" was not loaded: it carries "{found.group(1)}", which is '
            'neither a weight nor training state, and loading it can run code. Ask its author for '
            'a file with the weights only.'
        )
    # torch's text before this advises to load the file without the check.
    _, _, detail = reason.rpartition('WeightsUnpickler error:')
    return _broken(filename, detail.strip() or 'it is not a zip archive')


def _broken(filename: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f'checkpoint "{filename}" ({os.path.getsize(filename)} bytes) is truncated or not a '
        f'checkpoint; copy or download it again. ({reason.strip().splitlines()[0][:120]})'
    )


@register_backend('atomic', force=True)
class AtomicBackend(LocalBackend):
    """Local files, written to a temporary file first and then renamed.

    MMEngine writes a checkpoint in place, so a crash or a full disk leaves a truncated one under
    its final name. Our configs use this backend:
    ``checkpoint=dict(type='CheckpointHook', backend_args=dict(backend='atomic'))``.
    """

    def put(self, obj: bytes, filepath: PathLike) -> None:
        """Write bytes to a file; see :func:`mmrazor_byot.files.atomic_path`."""
        write_bytes(filepath, obj)
