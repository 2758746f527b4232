"""Read a config file, change its settings, and check the names of its keys."""

import contextlib
import inspect
import os
import sys
from difflib import get_close_matches
from typing import Any, Dict, Iterable, Iterator, Optional, Tuple
from unittest import mock

from mmengine.config import Config
from mmengine.runner import Runner, set_random_seed
from torch.utils.data import DataLoader

from .errors import ConfigError
from .files import PathLike

#: Keys that MMEngine's Runner and loader of configs, mmpretrain's tools and ours read.
KEYS = {
    *inspect.signature(Runner).parameters,
    *('activation_checkpointing', 'calibration_dataloader', 'channels_last', 'compile'),
    *('custom_imports', 'efficient_conv_bn_eval', 'find_unused_parameters', 'license'),
    *('model_path', 'model_wrapper_cfg', 'runner_type', 'sync_bn', 'tta_model', 'tta_pipeline'),
} - {'cfg'}
#: Keys of lists, of text and of numbers; the others have a dict, or None.
_NOT_DICTS = {
    *('channels_last', 'compile', 'custom_hooks', 'default_scope', 'experiment_name', 'launcher'),
    *('find_unused_parameters', 'license', 'load_from', 'log_level', 'model_path', 'resume'),
    *('param_scheduler', 'runner_type', 'sync_bn', 'test_evaluator', 'tta_pipeline', 'work_dir'),
    *('activation_checkpointing', 'efficient_conv_bn_eval', 'val_evaluator'),
}
_LOADER_KEYS = {
    *inspect.signature(DataLoader).parameters,
    *('num_batch_per_epoch', 'disable_subprocess_warning'),
}
#: Keys of the settings that are not arguments of a class with a ``type``.
NESTED_KEYS = {
    'auto_scale_lr': {'base_batch_size', 'enable'},
    'env_cfg': {'cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'},
    'randomness': {*inspect.signature(set_random_seed).parameters},
    **{key: _LOADER_KEYS for key in KEYS if key.endswith('_dataloader')},
}


def load_config(path: PathLike, options: Optional[dict] = None) -> Config:
    """Read a config file, and change the settings of ``--cfg-options``, given by dotted names.

    Modules of ``custom_imports`` are found in the current folder, too.

    Raises:
        ConfigError: The file is missing or cannot be read, or a key is unknown.
    """
    if not os.path.isfile(path):
        raise ConfigError(f'config "{path}" does not exist; check the path')
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        with _no_circles():
            cfg = Config.fromfile(path)
        keys = set(cfg)
        cfg.merge_from_dict(options or {})
    except ConfigError:
        raise
    except (Exception, SystemExit) as e:  # a config is code, which can raise anything
        cause: BaseException = e
        # MMEngine's text lists all of sys.path, but not the module that is missing.
        while isinstance(deeper := cause.__cause__ or cause.__context__, ImportError):
            cause = deeper
        reason = f'{type(cause).__name__}: {str(cause).strip() or "no message"}'
        raise ConfigError(f'config "{path}" cannot be read: {reason}') from e
    check_keys(cfg, options or {}, keys)
    return cfg


@contextlib.contextmanager
def _no_circles() -> Iterator[None]:
    """Raise a ConfigError if a config inherits from itself, on which MMEngine hangs."""
    read, heirs = Config._file2dict, []

    def read_once(filename: str, *args: Any, **kwargs: Any) -> tuple:
        path = os.path.realpath(filename)
        if path in heirs:
            raise ConfigError(f'config "{path}" inherits from itself; check its _base_')
        heirs.append(path)
        found = read(filename, *args, **kwargs)
        heirs.pop()
        return found

    with mock.patch.object(Config, '_file2dict', staticmethod(read_once)):
        yield


def check_keys(cfg: Config, options: Dict[str, Any], own_keys: Iterable[str]) -> None:
    """Check the keys that no constructor checks, because nothing is built from them.

    Variables of a config file become keys, too, so that in the file only keys are refused that
    resemble one that is read.

    Args:
        cfg (Config): The whole config.
        options (dict): What ``--cfg-options`` has changed.
        own_keys (Iterable[str]): The keys that the file has.

    Raises:
        ConfigError: A key is misspelt, or a setting makes no sense.
    """
    for option in options:
        if option == 'launcher':
            raise ConfigError('--cfg-options launcher: give it as --launcher')
        if option.split('.')[0] not in KEYS:
            raise ConfigError(
                f'--cfg-options {option}: nothing reads this key{_similar(option, cfg)}'
            )
    for key in set(own_keys) - KEYS:
        if close := get_close_matches(key, KEYS, 1, 0.9):
            raise ConfigError(f'the config has the unknown key {key}: is {close[0]} meant?')
    for key in (KEYS & set(cfg)) - _NOT_DICTS:
        if not isinstance(cfg[key], (dict, type(None))):
            raise ConfigError(f'{key}={cfg[key]!r}: a dict of settings is needed')
    if not isinstance(cfg.get('custom_hooks') or [], (list, tuple)):
        raise ConfigError(f'custom_hooks={cfg.custom_hooks!r}: a list of hooks is needed')
    for key, known in NESTED_KEYS.items():
        for name in cfg.get(key) or ():
            if name not in known:
                raise ConfigError(
                    f'{key} has the unknown key {name}'
                    + (_suggest(name, known, f'{key}.') or f'; there are {sorted(known)}')
                )
        if known is _LOADER_KEYS:
            _check_loader(key, cfg.get(key) or {})
    for name in ('max_epochs', 'max_iters', 'val_interval'):
        most = (cfg.get('train_cfg') or {}).get(name, 1)
        if type(most) is not int or most < 1:
            raise ConfigError(f'train_cfg.{name}={most!r}: a whole number, at least 1')


def _check_loader(key: str, loader: dict) -> None:
    for name in ('dataset', 'sampler'):
        if not isinstance(loader.get(name, {}), dict):
            raise ConfigError(f'{key}.{name}={loader[name]!r}: a dict with a type is needed')
    for name, least in (('batch_size', 1), ('num_workers', 0)):
        value = loader.get(name, least)
        if type(value) is not int or not least <= value < 1e6:
            raise ConfigError(f'{key}.{name}={value!r}: a whole number, at least {least}')


def _similar(option: str, cfg: Config) -> str:
    """The setting in a config that an unknown key may mean."""
    last = option.split('.')[-1]
    for path, _ in settings(cfg._cfg_dict):
        if path.split('.')[-1] == last and path.split('.')[0] in KEYS:
            return f'; is {path} meant?'
    first, _, rest = option.partition('.')
    return _suggest(first, KEYS, rest=f'.{rest}' if rest else '')


def _suggest(name: object, known: Iterable[str], prefix: str = '', rest: str = '') -> str:
    close = get_close_matches(str(name), known, 1)
    return f'; is {prefix}{close[0]}{rest} meant?' if close else ''


def settings(node: Any, path: str = '') -> Iterator[Tuple[str, Any]]:
    """All settings of a config with their dotted keys, outer ones first."""
    if path:
        yield path, node
    items = node.items() if isinstance(node, dict) else ()
    for key, value in enumerate(node) if isinstance(node, (list, tuple)) else items:
        yield from settings(value, f'{path}.{key}'.lstrip('.'))
