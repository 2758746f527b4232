"""Patches of the OpenMMLab packages, seen as needed with MMEngine 0.10.7 and MMRazor 1.0.0.

1. ``import mmrazor.models`` fails on torch 2: ``mmrazor.structures.quantization`` builds tables of
   names that ``torch.ao.quantization`` has dropped. If (and only if) it fails to import, a stub
   takes its place, whose use raises an error that says so.
2. MMEngine loads checkpoints by a bare ``torch.load``, which refuses MMEngine's own files and, from
   a URL, runs whatever code a file carries. See :mod:`mmrazor_byot.checkpoint`.
3. ``mmrazor_byot::NAME`` as a config's base, or for ``mmengine.hub.get_config``: MMEngine has a
   fixed list of packages, finds no editable install, and would look up bare types in our scope.
4. MMEngine selects a CUDA device whatever the backend, see :func:`no_cuda_device`.
5. Swin's blocks in mmpretrain fix the batch size for torch.export, see :func:`symbolic_batch`.
6. oneDNN overwrites memory in NHWC, see :func:`check_narrow_convolutions`.

The first three run when the module in question is imported, so that this file needs neither torch
nor any OpenMMLab package. mmpretrain learns of the models in :mod:`mmrazor_byot.zoo` the same way.
"""

import contextlib
import functools
import importlib.abc
import importlib.machinery
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Callable, Dict, Iterator, Optional
from unittest import mock

if TYPE_CHECKING:
    import torch

#: oneDNN's block of channels; 8 without AVX-512.
BLOCK = 16
QUANTIZATION = 'mmrazor.structures.quantization'
#: Warnings at every start, of code that none of our users can change.
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
def no_cuda_device() -> Iterator[None]:
    """Let ``mmengine.dist.init_dist`` run on a machine without a CUDA device."""
    import torch

    if torch.cuda.is_available():
        yield
    else:
        with mock.patch.object(torch.cuda, 'set_device', lambda _: None):
            yield


@contextlib.contextmanager
def symbolic_batch() -> Iterator[None]:
    """Let torch.export follow the batch size through Swin's windows."""
    from mmpretrain.models.utils.attention import ShiftWindowMSA

    def window_reverse(windows, height, width, size):
        rows, columns = height // size, width // size
        # mmpretrain divides floats to find the batch size.
        windows = windows.view(
            windows.shape[0] // (rows * columns), rows, columns, size, size, windows.shape[-1]
        )
        return windows.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    with mock.patch.object(ShiftWindowMSA, 'window_reverse', staticmethod(window_reverse)):
        yield


def check_narrow_convolutions(model: 'torch.nn.Module', switch: str) -> None:
    """Refuse a network that would overwrite memory in NHWC on a CPU.

    The weight gradient of a 1 x 1 convolution with a stride is computed in a buffer that is too
    small if there are fewer channels than a block (oneDNN issue 6035): the run crashes, hangs or
    learns nonsense.

    Args:
        model (nn.Module): The network.
        switch (str): What would bring it to NHWC, for the message.

    Raises:
        ConfigError: It has such a convolution, and is on a CPU.
    """
    from torch import nn

    from .errors import ConfigError

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
                f'(oneDNN issue 6035); leave {switch} out, or take a wider network'
            )


class _PatchFinder(importlib.abc.MetaPathFinder):
    """Finds the modules to patch as usual, and patches them after they are executed."""

    def find_spec(self, name, path=None, target=None):
        if name not in _PATCHES and name != QUANTIZATION:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = _patched(name, spec.loader.exec_module)
        return spec


def _patched(name: str, execute: Callable) -> Callable:
    def exec_module(module: ModuleType) -> None:
        execute(module)
        _PATCHES[name](module)

    def exec_quantization(module: ModuleType) -> None:
        try:
            execute(module)
        except (ImportError, AttributeError) as cause:
            _stub_quantization(module, cause)

    return exec_quantization if name == QUANTIZATION else exec_module


class _Stub:
    """What cannot be imported; every use raises and names it."""

    def __init__(self, name: str, cause: Exception) -> None:
        self._message = (
            f"{name} belongs to MMRazor's quantization, which does not work with the installed "
            f'torch ({cause}). Everything else in MMRazor does; for quantization use MMRazor 1.0.0 '
            'with torch 1.13.'
        )

    def _fail(self, *args, **kwargs):
        raise ImportError(self._message)

    __call__ = __getitem__ = _fail

    def __getattr__(self, name):
        if name.startswith('__'):  # inspection, not use
            raise AttributeError(name)
        self._fail()


def _stub_quantization(module: ModuleType, cause: Exception) -> None:
    """Let any name be imported from a module that failed to load."""
    for name in [name for name in sys.modules if name.startswith(f'{QUANTIZATION}.')]:
        del sys.modules[name]
    for name in [name for name in vars(module) if not name.startswith('__')]:
        delattr(module, name)

    def __getattr__(name):
        if name.startswith('__'):
            raise AttributeError(name)
        return _Stub(name, cause)

    module.__getattr__ = __getattr__


def _load_checkpoints_safely(module: ModuleType) -> None:
    from .checkpoint import allow_mmengine_globals, load_from_local
    from .zoo import load_from_zoo

    allow_mmengine_globals()
    for prefix, loader in (('', load_from_local), ('zoo://', load_from_zoo)):
        module.CheckpointLoader.register_scheme(prefixes=prefix, loader=loader, force=True)
    module.load_url = functools.partial(module.load_url, weights_only=True)


def _find_our_bases(module: ModuleType) -> None:
    theirs = module.Config._get_cfg_path

    def _get_cfg_path(cfg_path, filename):
        # No scope: our configs say mmpretrain's for bare types, and prefix our own.
        ours = _our_config(cfg_path)
        return (ours, None) if ours else theirs(cfg_path, filename)

    module.Config._get_cfg_path = staticmethod(_get_cfg_path)


def _get_our_configs(module: ModuleType) -> None:
    theirs = module.get_config

    def get_config(cfg_path, pretrained=False):
        ours = _our_config(cfg_path)
        if ours is None:
            return theirs(cfg_path, pretrained)
        from mmengine.config import Config

        cfg = Config.fromfile(ours)
        if pretrained:
            cfg.model_path = f'zoo://{Path(ours).stem}'
        return cfg

    module.get_config = get_config


def _our_config(name: str) -> Optional[str]:
    """The file that ``mmrazor_byot::NAME`` means; None for other names."""
    package, _, path = name.partition('::')
    if package != 'mmrazor_byot':
        return None
    from .zoo import find_root

    return str(find_root() / 'configs' / path)


def _register_zoo(module: ModuleType) -> None:
    """Let mmpretrain know the models of the zoo by name."""
    from . import zoo

    with contextlib.suppress(FileNotFoundError):  # a copy of the package alone has no index
        zoo.register()


_PATCHES: Dict[str, Callable[[ModuleType], None]] = {
    'mmengine.config.config': _find_our_bases,
    'mmengine.hub': _get_our_configs,
    'mmengine.runner.checkpoint': _load_checkpoints_safely,
    'mmpretrain.apis.model': _register_zoo,
}
