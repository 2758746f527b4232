"""Patches for torch 2 of MMEngine 0.10.7, mmpretrain 1.2.0 and MMRazor 1.0.0.

1. ``import mmrazor.models`` fails on torch 2: ``mmrazor.structures.quantization`` builds tables of
   names that ``torch.ao.quantization`` has dropped. If it fails to import, and only then, it is
   replaced by a stub, whose use raises an error that says so.
2. MMEngine loads checkpoints by a bare ``torch.load``, which refuses MMEngine's own files and, from
   a URL, runs whatever code a file carries. All addresses go to :mod:`mmrazor_byot.checkpoint`.
   MMEngine also casts integers to weights without a word.
3. ``mmrazor_byot::NAME`` as a config's base, or for ``mmengine.hub.get_config``: MMEngine has a
   fixed list of packages, misses editable installs, and would look up bare types in our scope.
4. The models of :mod:`mmrazor_byot.zoo` are added to mmpretrain's ``ModelHub``.
5. Swin's blocks in mmpretrain fix the batch size for torch.export, see :func:`symbolic_batch`.
6. oneDNN overwrites memory in NHWC, see :func:`check_narrow_convolutions`.
7. mmpretrain's ``CustomDataset`` takes a hidden folder, such as ``.ipynb_checkpoints``, for a class
   and the files within one for images. They are skipped.
8. MMEngine writes files in place: those of ``mmengine.fileio`` and configs are written whole or not
   at all.
9. MMRazor raises Python's limit on recursion to a million, see :data:`RECURSION_LIMIT`.
10. mmcv does not say which image of a folder cannot be read.
11. MMEngine prints its log, hundreds of lines before the first iteration. Where a config has
    :class:`ConsoleHook` as ``default_hooks.console``, it goes to its file alone.

All but 5 and 6 are applied when the module in question is imported, so this file itself imports
neither torch nor an OpenMMLab package.
"""

import contextlib
import functools
import importlib.abc
import importlib.machinery
import logging
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple
from unittest import mock

from .errors import CheckpointError, ConfigError, DatasetError, ZooError
from .files import PathLike, write_text

if TYPE_CHECKING:
    import torch

#: Without a limit, nested input of any depth would overflow the stack and end the process.
RECURSION_LIMIT = 10_000
#: Channels in a block of oneDNN; 8 without AVX-512.
BLOCK = 16
QUANTIZATION = 'mmrazor.structures.quantization'
#: Warnings at every import, about code that users cannot change.
_NOISE = (
    'pkg_resources is deprecated',
    'Fail to import ``MultiScaleDef',
    '`broadcast_buffers` is deprecated',
)


def install() -> None:
    """Set up the patches; safe to call more than once."""
    if any(isinstance(finder, _PatchFinder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _PatchFinder())
    for name, patch in _PATCHES.items():
        if name in sys.modules:
            patch(sys.modules[name])
    for message in _NOISE:
        warnings.filterwarnings('ignore', message=message)


@contextlib.contextmanager
def symbolic_batch() -> Iterator[None]:
    """Keep the batch size symbolic in Swin's windows for torch.export."""
    from mmpretrain.models.utils.attention import ShiftWindowMSA

    def window_reverse(
        windows: 'torch.Tensor', height: int, width: int, size: int
    ) -> 'torch.Tensor':
        rows, columns = height // size, width // size
        # mmpretrain computes the batch size by dividing floats.
        windows = windows.view(
            windows.shape[0] // (rows * columns), rows, columns, size, size, windows.shape[-1]
        )
        return windows.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    with mock.patch.object(ShiftWindowMSA, 'window_reverse', staticmethod(window_reverse)):
        yield


def check_narrow_convolutions(model: 'torch.nn.Module', switch: str) -> None:
    """Check that a network on a CPU can be trained in NHWC, which the setting ``switch`` asks for.

    The weight gradient of a strided 1 x 1 convolution with fewer input channels than a block is
    computed in a buffer that is too small (oneDNN issue 6035): the run crashes, hangs or learns
    nothing. A :class:`ConfigError` names such a convolution.
    """
    from torch import nn

    for name, module in model.named_modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.weight.device.type == 'cpu'
            and module.kernel_size == (1, 1)
            and max(module.stride) > 1
            and module.in_channels // module.groups < BLOCK
        ):
            raise ConfigError(
                f'{switch}: on a CPU, torch overwrites memory in 1 x 1 convolutions with a stride '
                f'and fewer than {BLOCK} input channels, such as {name} with {module.in_channels} '
                f'(oneDNN issue 6035); remove {switch} or use a wider network'
            )


class _PatchFinder(importlib.abc.MetaPathFinder):
    """Finds the modules to patch as Python does, and patches them after they are executed."""

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        if name not in _PATCHES and name != QUANTIZATION:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        loader: Any = spec and spec.loader  # one of its methods is replaced
        if loader is not None:
            loader.exec_module = _patched(name, loader.exec_module)
        return spec


def _patched(name: str, execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def exec_module(module: ModuleType) -> None:
        try:
            execute(module)
        except (ImportError, AttributeError) as cause:
            if name != QUANTIZATION:
                raise
            _stub_quantization(module, cause)
        if name in _PATCHES:
            _PATCHES[name](module)

    return exec_module


class _Stub:
    """A name that cannot be imported; every use of it raises an error."""

    def __init__(self, name: str, cause: Exception) -> None:
        self._message = (
            f"{name} belongs to MMRazor's quantization, which does not work with the installed "
            f'torch ({cause}). Everything else in MMRazor does; for quantization use MMRazor 1.0.0 '
            'with torch 1.13.'
        )

    def _fail(self, *args: object, **kwargs: object) -> None:
        raise ImportError(self._message)

    __call__ = __getitem__ = _fail

    def __getattr__(self, name: str) -> None:
        if name.startswith('__'):  # inspection, not use
            raise AttributeError(name)
        self._fail()


def _stub_quantization(module: Any, cause: Exception) -> None:
    """Make every name importable from a module that failed to load."""
    for name in [name for name in sys.modules if name.startswith(f'{QUANTIZATION}.')]:
        del sys.modules[name]
    for name in [name for name in vars(module) if not name.startswith('__')]:
        delattr(module, name)

    def __getattr__(name: str) -> _Stub:
        if name.startswith('__'):
            raise AttributeError(name)
        return _Stub(name, cause)

    module.__getattr__ = __getattr__


def _load_checkpoints_safely(module: Any) -> None:
    from .checkpoint import load_from_address
    from .state_dict import other_types, rename_like
    from .zoo import load_from_zoo

    module.CheckpointLoader._schemes.clear()
    for prefix, loader in (('', load_from_address), ('zoo://', load_from_zoo)):
        module.CheckpointLoader.register_scheme(prefixes=prefix, loader=loader, force=True)
    module.load_url = functools.partial(module.load_url, weights_only=True)
    load_state_dict = module.load_state_dict

    @functools.wraps(load_state_dict)
    def load_checked(model: Any, state: Any, *args: Any, **kwargs: Any) -> None:
        target = model
        while module.is_model_wrapper(target) or isinstance(target, module.BaseTTAModel):
            target = target.module
        state = rename_like(target, state)
        if cast := other_types(target.state_dict(), state):
            raise CheckpointError(
                f'the weights do not fit the {type(target).__name__}: {", ".join(cast[:3])}'
            )
        load_state_dict(model, state, *args, **kwargs)

    module.load_state_dict = load_checked


def _resolve_our_bases(module: Any) -> None:
    get_cfg_path = module.Config._get_cfg_path

    def _get_cfg_path(cfg_path: str, filename: str) -> Tuple[str, Optional[str]]:
        # Without a scope: bare types in our configs are mmpretrain's, our own are prefixed.
        ours = _our_config(cfg_path)
        return (ours, None) if ours else get_cfg_path(cfg_path, filename)

    module.Config._get_cfg_path = staticmethod(_get_cfg_path)


def _patch_config(module: Any) -> None:
    _resolve_our_bases(module)
    mmengine_dump = module.Config.dump

    def dump(self: Any, file: Optional[PathLike] = None) -> Optional[str]:
        if file is None or not str(file).endswith('.py'):
            return mmengine_dump(self, file)
        write_text(file, self.pretty_text)
        return None

    module.Config.dump = dump


def _resolve_our_configs(module: Any) -> None:
    mmengine_get_config = module.get_config

    def get_config(cfg_path: str, pretrained: bool = False) -> Any:
        ours = _our_config(cfg_path)
        if ours is None:
            return mmengine_get_config(cfg_path, pretrained)
        from mmengine.config import Config

        cfg = Config.fromfile(ours)
        if pretrained:
            cfg.model_path = f'zoo://{Path(ours).stem}'
        return cfg

    module.get_config = get_config


def _our_config(name: str) -> Optional[str]:
    """The path of the config ``mmrazor_byot::NAME``; None for other names."""
    package, _, path = name.partition('::')
    if package != 'mmrazor_byot':
        return None
    from .zoo import find_root

    return str(find_root() / 'configs' / path)


def _keep_log_in_file(module: Any) -> None:
    build_logger = module.Runner.build_logger

    @functools.wraps(build_logger)
    def build_quiet_logger(self: Any, *args: Any, **kwargs: Any) -> logging.Logger:
        logger = build_logger(self, *args, **kwargs)
        if 'console' in (self.cfg.get('default_hooks') or {}):
            for handler in logger.handlers:
                if isinstance(handler, logging.FileHandler):
                    handler.handleError = raise_error  # type: ignore[method-assign]
                else:
                    handler.setLevel(logging.ERROR)
        return logger

    def raise_error(record: logging.LogRecord) -> None:  # which Python only prints
        raise

    module.Runner.build_logger = build_quiet_logger


def _register_zoo(module: ModuleType) -> None:
    from . import zoo

    with contextlib.suppress(ZooError):  # a copy of the package alone has no index
        zoo.register()


def _skip_hidden_folders(module: Any) -> None:
    find_folders, is_valid_file = module.find_folders, module.CustomDataset.is_valid_file

    def find_visible(*args: Any, **kwargs: Any) -> Tuple[List[str], Dict[str, int]]:
        folders = [name for name in find_folders(*args, **kwargs)[0] if not name.startswith('.')]
        return folders, {name: i for i, name in enumerate(folders)}

    def is_visible(self: Any, filename: str) -> bool:
        hidden = any(part.startswith('.') for part in Path(filename).parts)
        return not hidden and is_valid_file(self, filename)

    module.find_folders, module.CustomDataset.is_valid_file = find_visible, is_visible


def _name_broken_images(module: Any) -> None:
    transform = module.LoadImageFromFile.transform

    def transform_or_name(self: Any, results: dict) -> Optional[dict]:
        try:
            return transform(self, results)
        except Exception as e:  # OpenCV's errors do not name the file
            reason = getattr(e, 'strerror', None) or 'it is empty, damaged or not an image'
            raise DatasetError(
                f'image "{results["img_path"]}" cannot be read: {reason}; replace or remove it'
            ) from e

    module.LoadImageFromFile.transform = transform_or_name


def _limit_recursion(module: ModuleType) -> None:
    sys.setrecursionlimit(min(sys.getrecursionlimit(), RECURSION_LIMIT))


_PATCHES: Dict[str, Callable[[ModuleType], None]] = {
    'mmcv.transforms.loading': _name_broken_images,
    'mmengine.config.config': _patch_config,
    'mmengine.hub': _resolve_our_configs,
    'mmengine.runner.checkpoint': _load_checkpoints_safely,
    'mmengine.runner.runner': _keep_log_in_file,
    'mmpretrain.apis.model': _register_zoo,
    'mmpretrain.datasets.custom': _skip_hidden_folders,
    'mmrazor.models.task_modules.tracer.fx_tracer': _limit_recursion,
    'mmrazor.structures.graph.channel_flow': _limit_recursion,
}
