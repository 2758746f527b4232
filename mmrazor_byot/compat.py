"""What today's torch breaks in the OpenMMLab stack, and the mends.

Four faults, seen on torch 2.6 to 2.15 with MMEngine 0.10.7 and MMRazor 1.0.0:

1. ``import mmrazor.models`` raises "`torch>=1.13` is not installed properly".
   ``mmrazor.structures.quantization`` builds tables at import time out of
   names that ``torch.ao.quantization`` has dropped. Only MMRazor's quantizers
   need them. When (and only when) the real module fails to import, a stand-in
   takes its place; using what it stands for raises an error that says so.
2. MMEngine loads checkpoints by a bare ``torch.load``. From torch 2.6 on that
   refuses MMEngine's own files ("Weights only load failed"), before 2.6 it
   runs whatever code a file carries. ``weights_only`` loading stays on, and
   exactly the globals that MMEngine's checkpoints hold are allowed, see
   :mod:`mmrazor_byot.checkpoint`.
3. MMEngine selects a CUDA device whatever the backend, so nothing distributed
   starts on a machine without a GPU, see :func:`no_cuda_device`.
4. Swin's blocks in mmpretrain find the batch size by dividing floats, which
   fixes it for torch.export, see :func:`symbolic_batch`.

The first two are import hooks: they run when the module at fault is imported, so this file needs
neither torch nor any OpenMMLab package. By the same hooks MMEngine and mmpretrain learn of the
models in :mod:`mmrazor_byot.zoo`.
"""

import contextlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Callable, Dict, Iterator
from unittest import mock

if TYPE_CHECKING:
    import torch

#: oneDNN's block of channels; 8 without AVX-512.
BLOCK = 16
QUANTIZATION = 'mmrazor.structures.quantization'
CHECKPOINT = 'mmengine.runner.checkpoint'
MODEL_HUB = 'mmpretrain.apis.model'
#: What the rest of MMRazor imports from its quantization subpackage.
_QUANTIZATION_NAMES = ('BackendConfigs', 'QConfigHandler')
#: Warnings at every start, of code that none of our users can change.
_NOISE = (
    'pkg_resources is deprecated',
    'Fail to import ``MultiScaleDef',
    '`broadcast_buffers` is deprecated',
)


def install() -> None:
    """Set up the mends; safe to call more than once."""
    if not any(isinstance(f, _MendFinder) for f in sys.meta_path):
        sys.meta_path.insert(0, _MendFinder())
    if CHECKPOINT in sys.modules:
        _use_safe_loader()
    if MODEL_HUB in sys.modules:
        _register_zoo(sys.modules[MODEL_HUB], lambda: None)
    for message in _NOISE:
        warnings.filterwarnings('ignore', message=message)


@contextlib.contextmanager
def no_cuda_device() -> Iterator[None]:
    """Let ``mmengine.dist.init_dist`` run where there is no CUDA device."""
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
        windows = windows.view(
            windows.shape[0] // (rows * columns), rows, columns, size, size, windows.shape[-1]
        )
        return windows.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    with mock.patch.object(ShiftWindowMSA, 'window_reverse', staticmethod(window_reverse)):
        yield


def check_narrow_convolutions(model: 'torch.nn.Module', switch: str) -> None:
    """Refuse a network that would overwrite memory in NHWC on a CPU.

    The weight gradient of a 1 x 1 convolution with a stride is computed in a buffer that is too
    small where there are fewer channels than a block (oneDNN issue 6035): the run crashes, hangs or
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


class _MendFinder(importlib.abc.MetaPathFinder):
    """Finds the modules at fault as usual, and mends them as they load."""

    def find_spec(self, name, path=None, target=None):
        mend = _MENDS.get(name)
        if mend is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _MendLoader(spec.loader, mend)
        return spec


class _MendLoader(importlib.abc.Loader):
    """Wraps a module's own loader.

    Args:
        loader: The module's own loader.
        mend: Called with the module and a function that executes it.
    """

    def __init__(self, loader: importlib.abc.Loader, mend: Callable) -> None:
        self.loader = loader
        self.mend = mend

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.mend(module, lambda: self.loader.exec_module(module))


def _mend_quantization(module: ModuleType, execute: Callable) -> None:
    """Stand in for MMRazor's quantization if it cannot be imported."""
    try:
        execute()
    except (ImportError, AttributeError) as cause:
        halves = [n for n in sys.modules if n.startswith(f'{QUANTIZATION}.')]
        for name in halves:
            del sys.modules[name]
        _stand_in(module, cause)


def _stand_in(module: ModuleType, cause: Exception) -> None:
    message = (
        "{} belongs to MMRazor's quantization, which does not work with the installed torch "
        f'({cause}). Everything else in MMRazor does; for quantization use MMRazor 1.0.0 with '
        'torch 1.13.'
    )

    class Missing(type):
        """A class whose every use raises, and names what is missing."""

        def _fail(cls, *args, **kwargs):
            raise ImportError(message.format(cls.__name__))

        __call__ = __getitem__ = _fail

        def __getattr__(cls, name):
            if name.startswith('__'):  # inspection, not use
                raise AttributeError(name)
            cls._fail()

    for name in _QUANTIZATION_NAMES:
        setattr(module, name, Missing(name, (), {'__module__': QUANTIZATION}))
    module.__all__ = list(_QUANTIZATION_NAMES)

    def __getattr__(name):
        if name.startswith('__'):
            raise AttributeError(name)
        raise ImportError(message.format(f'{QUANTIZATION}.{name}'))

    module.__getattr__ = __getattr__


def _mend_checkpoint(module: ModuleType, execute: Callable) -> None:
    execute()
    _use_safe_loader(module)


def _use_safe_loader(module: ModuleType = None) -> None:
    from .checkpoint import allow_mmengine_globals, load_from_local

    allow_mmengine_globals()
    module = module or sys.modules[CHECKPOINT]
    for prefix, loader in (('', load_from_local), ('zoo://', load_from_zoo)):
        module.CheckpointLoader.register_scheme(prefixes=prefix, loader=loader, force=True)


def load_from_zoo(filename, map_location=None):
    """``zoo://NAME``, see :func:`mmrazor_byot.zoo.load_from_zoo`."""
    from . import zoo  # here, as it needs MMEngine to be imported

    return zoo.load_from_zoo(filename, map_location)


def _register_zoo(module: ModuleType, execute: Callable) -> None:
    """Let mmpretrain know the models of the zoo by name."""
    from . import zoo

    execute()
    with contextlib.suppress(FileNotFoundError):  # a copy of the package alone has no index
        zoo.register()


_MENDS: Dict[str, Callable] = {
    QUANTIZATION: _mend_quantization,
    CHECKPOINT: _mend_checkpoint,
    MODEL_HUB: _register_zoo,
}
