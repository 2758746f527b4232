"""Checkpoints: read safely, written whole."""
import codecs
import os
import pickle
import re
import types
from _compat_pickle import IMPORT_MAPPING
from typing import Any, Dict

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import HistoryBuffer
from torch.torch_version import TorchVersion

from .errors import CheckpointError


def mmengine_globals() -> Dict[str, Any]:
    """What a checkpoint of MMEngine holds beyond tensors and plain data.

    Its message hub pickles ``HistoryBuffer`` objects: NumPy arrays, and their
    statistics methods by ``getattr(HistoryBuffer, 'mean')``. Schedulers may
    hold NumPy scalars. Nothing here runs code: ``getattr`` is replaced by a
    function that finds those methods alone.

    Returns:
        dict: Full name, as it stands in the file, to object. NumPy 1 and 2
        name the same functions differently, and a file of either must load.
    """
    reconstruct = np.zeros(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    allowed = {
        '_codecs.encode': codecs.encode,  # how pickle writes bytes
        'builtins.getattr': _history_method,
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': np.dtype,
    }
    for package in ('numpy.core', 'numpy._core'):
        allowed[f'{package}.multiarray._reconstruct'] = reconstruct
        allowed[f'{package}.multiarray.scalar'] = scalar
    for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_):
        dtype = type(np.dtype(kind))  # numpy.dtypes.Float64DType and so on
        allowed[f'{dtype.__module__}.{dtype.__qualname__}'] = dtype
    return allowed


def _history_method(owner: Any, name: str) -> Any:
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f'Unsupported: getattr({owner}, {name!r})')


# torch 2.4 and 2.5 know an allowed global by the object's own name.
_history_method.__module__ = 'builtins'
_history_method.__qualname__ = _history_method.__name__ = 'getattr'


def allow_mmengine_globals() -> None:
    """Let ``torch.load(weights_only=True)`` read MMEngine's checkpoints."""
    if not hasattr(torch.serialization, 'add_safe_globals'):
        return  # torch < 2.4, see _load
    named = [(obj, name) for name, obj in mmengine_globals().items()]
    if TorchVersion(torch.__version__) < '2.6':
        named = [obj for obj, _ in named]
    torch.serialization.add_safe_globals(named)


def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Load a checkpoint file; no code in it is ever run.

    Takes the place of MMEngine's loader of the same name.

    Args:
        filename: Path of the file; ``~`` is expanded.
        map_location: As in ``torch.load``.

    Returns:
        dict: The checkpoint.

    Raises:
        CheckpointError: The file is missing, truncated, no checkpoint, or
            carries code.
    """
    filename = os.path.expanduser(filename)
    if not os.path.isfile(filename):
        raise CheckpointError(
            f'checkpoint "{filename}" does not exist; check the path')
    try:
        checkpoint = _load(filename, map_location)
    except pickle.UnpicklingError as e:
        refused = re.search(
            r'(?:GLOBAL|Unsupported global:|Unsupported:) (?!GLOBAL)([\w.]+)',
            str(e))
        if not refused:
            raise _broken(filename, e) from e
        raise CheckpointError(
            f'checkpoint "{filename}" was not loaded: it carries '
            f'"{refused.group(1)}", which is neither a weight nor training '
            'state, and loading it can run code. Ask its author for a file '
            'with the weights only.') from e
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as e:
        raise _broken(filename, e) from e
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'"{filename}" holds a {type(checkpoint).__name__}, not a '
            'checkpoint (a dict with "state_dict", or a state dict)')
    return checkpoint


def _load(filename: str, map_location: Any) -> Any:
    if hasattr(torch.serialization, 'add_safe_globals'):
        return torch.load(
            filename, map_location=map_location, weights_only=True)
    # torch < 2.4: weights_only takes no further globals, so unpickle through
    # an Unpickler that finds nothing but torch's own list and ours.
    return torch.load(
        filename,
        map_location=map_location,
        pickle_module=_restricted_pickle(),
        weights_only=False)


def _restricted_pickle() -> types.ModuleType:
    from torch._weights_only_unpickler import _get_allowed_globals
    allowed = {**_get_allowed_globals(), **mmengine_globals()}

    class Unpickler(pickle.Unpickler):

        def find_class(self, module, name):
            module = IMPORT_MAPPING.get(module, module)  # Python 2's names
            try:
                return allowed[f'{module}.{name}']
            except KeyError:
                raise pickle.UnpicklingError(
                    f'Unsupported global: {module}.{name}') from None

    restricted = types.ModuleType('restricted_pickle')
    restricted.__dict__.update(pickle.__dict__)
    restricted.Unpickler = Unpickler
    return restricted


def _broken(filename: str, cause: Exception) -> CheckpointError:
    return CheckpointError(
        f'checkpoint "{filename}" ({os.path.getsize(filename)} bytes) is '
        'truncated or not a checkpoint; copy or download it again. '
        f'({_first_line(cause)})')


def _first_line(e: Exception) -> str:
    return str(e).strip().split('\n')[0][:200] or type(e).__name__


@register_backend('atomic', force=True)
class AtomicBackend(LocalBackend):
    """Local files that appear whole or not at all.

    MMEngine writes a checkpoint in place, so a crash or a full disk leaves a
    truncated one under the good name. This writes beside it and renames. Use
    it by ``checkpoint=dict(type='CheckpointHook',
    backend_args=dict(backend='atomic'))``, as our configs do.
    """

    def put(self, obj: bytes, filepath) -> None:
        """Write bytes to a file, which is replaced only when all is written.

        Args:
            obj: The bytes.
            filepath (str | Path): Where to.
        """
        temporary = f'{filepath}.{os.getpid()}.tmp'
        try:
            super().put(obj, temporary)
            os.replace(temporary, filepath)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)

    def put_text(self, obj: str, filepath, encoding: str = 'utf-8') -> None:
        """Write text to a file, see :meth:`put`."""
        self.put(obj.encode(encoding), filepath)
