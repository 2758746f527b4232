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
5. Swin's blocks in mmpretrain fix the batch size for torch.export, see
   :func:`mmrazor_byot.compat.torch.symbolic_batch`.
6. oneDNN overwrites memory in NHWC, see
   :func:`mmrazor_byot.compat.torch.check_narrow_convolutions`.
7. mmpretrain's ``CustomDataset`` takes a hidden folder, such as ``.ipynb_checkpoints``, for a class
   and the files within one for images. They are skipped.
8. MMEngine writes files in place: those of ``mmengine.fileio`` and configs are written whole or not
   at all.
9. MMRazor raises Python's limit on recursion to a million.
10. mmcv does not say which image of a folder cannot be read.
11. MMEngine prints its log, hundreds of lines before the first iteration. Where a config has
    :class:`ConsoleHook` as ``default_hooks.console``, it goes to its file alone.

All but 5 and 6 are applied when the module in question is imported, so this file itself imports
neither torch nor an OpenMMLab package.
"""

import importlib.abc
import importlib.machinery
import sys
import warnings
from types import ModuleType
from typing import Any, Callable, Dict, Optional, Sequence

from . import openmmlab
from .quantization import QUANTIZATION, stub_quantization

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
            stub_quantization(module, cause)
        if name in _PATCHES:
            _PATCHES[name](module)

    return exec_module


_PATCHES: Dict[str, Callable[[ModuleType], None]] = {
    'mmcv.transforms.loading': openmmlab.name_broken_images,
    'mmengine.config.config': openmmlab.patch_config,
    'mmengine.hub': openmmlab.resolve_our_configs,
    'mmengine.runner.checkpoint': openmmlab.load_checkpoints_safely,
    'mmengine.runner.runner': openmmlab.keep_log_in_file,
    'mmpretrain.apis.model': openmmlab.register_zoo,
    'mmpretrain.datasets.custom': openmmlab.skip_hidden_folders,
    'mmrazor.models.task_modules.tracer.fx_tracer': openmmlab.limit_recursion,
    'mmrazor.structures.graph.channel_flow': openmmlab.limit_recursion,
}
