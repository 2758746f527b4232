"""One line for what MMEngine, mmpretrain and torch raise because of a setting.

What goes wrong while an object of the config is built is caused by its settings; what goes wrong
later is a bug, unless it is a known message. The objects that were being built are in the frames of
the traceback, so that nothing has to be patched.
"""

import contextlib
import os
import re
import traceback
from difflib import get_close_matches
from inspect import getmro, isclass, signature
from types import FrameType
from typing import Any, Dict, Iterator, List, Optional, Set

from mmengine import registry as root
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry

from .config_file import settings
from .errors import ByotError, ConfigError
from .files import DISK_ERRORS

#: Messages of torch while a network runs, and what to say instead.
MESSAGES = {
    r'stack expects each tensor to be equal size, but got (\[.*?\]) at entry 0 and (\[.*?\])': (
        'the images of a batch have the sizes {0} and {1}: end the pipeline of the data set with a '
        'Resize or crop that makes them equal'
    ),
    r'gloo.*(?:Connection (?:closed|reset) by peer|Broken pipe)': (
        'another process of this run has ended; see its output'
    ),
    r"Kernel size can't be greater than actual input size|Output size is too small": (
        'the images are smaller than the network needs: enlarge them by a Resize at the end of the '
        'pipeline of the data set, or use fewer sections'
    ),
    r'weight tensor should be defined either for all (\d+) classes .*shape: \[(\d+)\]': (
        'class_weight of a loss has {1} numbers for {0} classes'
    ),
    r'SyncBatchNorm expected input tensor to be on': (
        'SyncBN runs on GPUs only: set norm_cfg=dict(type="BN") of the backbone, and no sync_bn'
    ),
}
#: Ends of the paths of MMEngine's files.
_BUILD = os.path.join('mmengine', 'registry', 'build_functions.py')
_CONFIG = os.path.join('mmengine', 'config', 'config.py')
_RUNNER = os.path.join('mmengine', 'runner', 'runner.py')
#: Methods of the Runner whose settings have no ``type``.
_PARTS = dict(build_logger='log_level', set_randomness='randomness', setup_env='env_cfg')


@contextlib.contextmanager
def config_errors() -> Iterator[None]:
    """Turn errors that settings cause into a :class:`ConfigError` that names the key."""
    try:
        yield
    except ByotError:
        raise
    except Exception as e:
        reason = explain(e)
        if reason is None:
            raise
        raise ConfigError(reason) from e


def explain(error: Exception) -> Optional[str]:
    """What a setting caused, as one line; None for a bug."""
    for message, advice in MESSAGES.items():
        if found := re.search(message, str(error)):
            return advice.format(*found.groups())
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return None  # it is not about a setting
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    building = [(frame, cfg) for frame in frames if (cfg := _settings_of(frame)) is not None]
    if building:
        frame, cfg = building[-1]
        locals_ = (value for f in frames for value in f.f_locals.values())
        whole = next((value for value in locals_ if isinstance(value, Config)), None)
        keys = (_find_key(whole, cfg) for _, cfg in reversed(building))
        where = [
            next(filter(None, keys), _PARTS.get(frame.f_code.co_name)),
            _name(cfg.get('type', '')),
        ]
        return ': '.join([*filter(None, where), _reason(error, frame, frames[-1])])
    code = frames[-1].f_code
    if code.co_filename.endswith(_CONFIG) and code.co_name in ('__getattr__', '__missing__'):
        key = re.sub(r".*'(\w+)'$", r'\1', str(error))
        return f'the config has no {key}: add it, or give a whole recipe'
    return None


def _settings_of(frame: FrameType) -> Optional[dict]:
    """The settings from which a function of MMEngine builds an object; None for others."""
    code, values = frame.f_code, frame.f_locals
    if code.co_filename.endswith(_BUILD) and isinstance(values.get('cfg'), dict):
        return values['cfg']
    if not code.co_filename.endswith(_RUNNER):
        return None
    if code.co_name.startswith('build_'):
        given = (values[name] for name in code.co_varnames[: code.co_argcount])
        return next((value for value in given if isinstance(value, dict)), {})
    return {} if code.co_name == '__init__' or code.co_name in _PARTS else None


def _find_key(whole: Optional[Config], cfg: dict) -> str:
    """The dotted key of settings in a config, which a constructor may have completed."""
    best, key = 0, ''
    for path, node in settings(whole._cfg_dict if whole else {}):
        if isinstance(node, dict) and node.get('type', cfg.get('type')) == cfg.get('type') and cfg:
            with contextlib.suppress(Exception):  # comparing values of any type
                if node == cfg:
                    return path
                equal = sum(node[name] == cfg[name] for name in node.keys() & cfg.keys())
                if equal > best:
                    best, key = equal, path
    return key


def _reason(error: Exception, frame: FrameType, last: FrameType) -> str:
    """Why the object could not be built in ``frame``; ``last`` has raised the error."""
    values = frame.f_locals
    text = ', '.join(map(str, error.args)) if isinstance(error, KeyError) else str(error)
    registries = [value for value in vars(root).values() if isinstance(value, Registry)]
    if text.startswith('`cfg` or `default_args` must contain the key "type"'):
        return f'a {values["registry"].name} needs a type, but there are only {[*values["cfg"]]}'
    if found := re.match(r'(\S+) is not in the (?:\S+::)?(.+?) registry', text):
        same = [r for r in registries if r.name.split() == found[2].split()] or registries
        return f'there is no {found[2]} {found[1]}{_similar_type(found[1], same)}'
    if found := re.search(
        r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", text
    ):
        kind = values.get('obj_cls') if last is frame else None
        name, known = found[2], _arguments(kind or last.f_globals.get(found[1]))
        close = get_close_matches(name, known, 1)
        hint = f'is {close[0]} meant?' if close else f'there are {", ".join(sorted(known))}'
        return f'it has no argument {name}; {hint}'
    if found := re.search(r'missing \d+ required .*arguments?: (.*)', text):
        return f'it needs the argument {found[1]}'
    if isinstance(error, (TypeError, AssertionError, RuntimeError)) or 'None' in text:
        for key, node in settings(_settings_of(frame)):
            if key.endswith('type') and isinstance(node, str) and not _known(node, registries):
                return f'{key}={node!r} does not exist{_similar_type(node, registries)}'
    if isinstance(error, OSError) and error.filename is not None:
        return f'{error.strerror}: "{error.filename}"'
    line = traceback.extract_tb(error.__traceback__)[-1].line
    if not text or (isinstance(error, TypeError) and line and not line.startswith('raise')):
        text = f'{text} at "{line}"'.strip()  # which says what the value is
    return f'{type(error).__name__}: {text}'


def _arguments(kind: Any) -> Set[str]:
    """Names of the arguments of a class, with those that its constructor passes on."""
    found: Set[str] = set()
    for base in getmro(kind)[:-1] if isclass(kind) else [kind]:
        with contextlib.suppress(TypeError, ValueError):
            parameters = signature(base).parameters.values()
            found |= {
                p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
            }
    return found - {'self'}


def _known(name: str, registries: List[Registry]) -> bool:
    for registry in registries:
        with contextlib.suppress(Exception), registry.switch_scope_and_registry(None) as own:
            if own.get(name) is not None:
                return True
    return False


def _similar_type(name: Any, registries: List[Registry]) -> str:
    """A registered name that resembles an unknown one, with the scope that it needs."""
    scopes: Dict[str, str] = {}
    todo = [registry._get_root_registry() for registry in registries]
    for registry in todo:
        todo += registry.children.values()
        for known in registry.module_dict:
            scopes.setdefault(known, registry.scope)
    close = get_close_matches(_name(name).split('.')[-1], scopes, 1)
    if not close:
        return '; check its name, and custom_imports if it is your own'
    scope, default = scopes[close[0]], DefaultScope.get_current_instance()
    bare = scope in ('mmengine', default and default.scope_name)
    return f'; is {close[0] if bare else f"{scope}.{close[0]}"} meant?'


def _name(kind: Any) -> str:
    return str(getattr(kind, '__name__', kind))
