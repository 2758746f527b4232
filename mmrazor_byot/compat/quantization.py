"""A stub for MMRazor's quantization, which cannot be imported on torch 2."""

import sys
from typing import Any

QUANTIZATION = 'mmrazor.structures.quantization'


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


def stub_quantization(module: Any, cause: Exception) -> None:
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
