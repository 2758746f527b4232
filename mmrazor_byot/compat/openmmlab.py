"""The patches of OpenMMLab's modules; each is called with the module."""

import contextlib
import functools
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, List, Optional, Tuple

from mmrazor_byot.errors import CheckpointError, DatasetError, ZooError
from mmrazor_byot.files import PathLike, write_text

#: Without a limit, nested input of any depth would overflow the stack and end the process.
RECURSION_LIMIT = 10_000


def load_checkpoints_safely(module: Any) -> None:
    from mmrazor_byot.checkpoint import load_from_address
    from mmrazor_byot.state_dict import other_types, rename_like
    from mmrazor_byot.zoo import load_from_zoo

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


def patch_config(module: Any) -> None:
    _resolve_our_bases(module)
    mmengine_dump = module.Config.dump

    def dump(self: Any, file: Optional[PathLike] = None) -> Optional[str]:
        if file is None or not str(file).endswith('.py'):
            return mmengine_dump(self, file)
        write_text(file, self.pretty_text)
        return None

    module.Config.dump = dump


def resolve_our_configs(module: Any) -> None:
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
    from mmrazor_byot.zoo import find_root

    return str(find_root() / 'configs' / path)


def keep_log_in_file(module: Any) -> None:
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


def register_zoo(module: ModuleType) -> None:
    from mmrazor_byot import zoo

    with contextlib.suppress(ZooError):  # a copy of the package alone has no index
        zoo.register()


def skip_hidden_folders(module: Any) -> None:
    find_folders, is_valid_file = module.find_folders, module.CustomDataset.is_valid_file

    def find_visible(*args: Any, **kwargs: Any) -> Tuple[List[str], Dict[str, int]]:
        folders = [name for name in find_folders(*args, **kwargs)[0] if not name.startswith('.')]
        return folders, {name: i for i, name in enumerate(folders)}

    def is_visible(self: Any, filename: str) -> bool:
        hidden = any(part.startswith('.') for part in Path(filename).parts)
        return not hidden and is_valid_file(self, filename)

    module.find_folders, module.CustomDataset.is_valid_file = find_visible, is_visible


def name_broken_images(module: Any) -> None:
    transform = module.LoadImageFromFile.transform

    def transform_or_name(self: Any, results: dict) -> Optional[dict]:
        try:
            return transform(self, results)
        except DatasetError:
            raise
        except Exception as e:  # OpenCV's errors do not name the file
            reason = getattr(e, 'strerror', None) or 'it is empty, damaged or not an image'
            raise DatasetError(
                f'image "{results["img_path"]}" cannot be read: {reason}; replace or remove it'
            ) from e

    module.LoadImageFromFile.transform = transform_or_name


def limit_recursion(module: ModuleType) -> None:
    sys.setrecursionlimit(min(sys.getrecursionlimit(), RECURSION_LIMIT))
