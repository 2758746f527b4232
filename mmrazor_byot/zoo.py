"""The model zoo: list, download and verify published checkpoints.

The models are listed in ``model-index.yml`` and the metafiles that it imports. ``Weights`` of a
model are a URL. Weights that ship with the project are ``Shipped Weights`` under ``Metadata``, a
path, because mim accepts only URLs. Downloads are cached in ``$MMRAZOR_BYOT_HOME``, by default
``mmrazor_byot`` in torch's hub folder. ``$MMRAZOR_BYOT_MIRROR`` replaces the published URLs.
"""

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Dict, List, Optional
from urllib.parse import quote, urlsplit

import torch.hub
from mmengine.fileio import load

from .checkpoint import load_from_local
from .download import download as fetch
from .download import hash_in_name, name_in_url, once_per_node
from .errors import CheckpointError, ConfigError, ZooError
from .files import PathLike, sha256

INDEX = 'model-index.yml'
_BUFFERS = ('running_mean', 'running_var', 'num_batches_tracked')


@dataclass(frozen=True)
class ZooModel:
    """A model of the zoo; paths are relative to ``root``, and unknown values are None."""

    name: str
    root: Path
    config: Optional[str] = None
    weights: Optional[str] = None
    dataset: Optional[str] = None
    top1: Optional[float] = None
    params: Optional[int] = None
    flops: Optional[int] = None

    @property
    def file_name(self) -> str:
        """Name of the checkpoint file, the end of its URL; empty without weights."""
        return name_in_url(self.weights or '')

    @property
    def shipped(self) -> Optional[Path]:
        """Path of the checkpoint if it ships with the project."""
        if not self.weights or urlsplit(self.weights).scheme:
            return None
        return self.root / self.weights


@dataclass(frozen=True)
class CheckedFile:
    """What :func:`verify` found in a checkpoint."""

    path: Path
    size: int
    sha256: str
    expected_sha256: str  #: The first digits, from the file name; empty if it has none.
    tensors: int
    parameters: int  #: Without the running statistics of batch normalization.
    meta: Dict[str, Any]
    others: List[str]  #: Keys other than ``state_dict`` and ``meta``.


def find_root() -> Path:
    """The folder of ``model-index.yml``: ``.mim`` if installed, else the repository."""
    package = Path(__file__).resolve().parent
    return package / '.mim' if (package / '.mim' / INDEX).is_file() else package.parent


def list_models() -> List[ZooModel]:
    """All models of the zoo, in the order of the metafiles; a :class:`ZooError` if one is wrong."""
    root = find_root()
    models = []
    for metafile in _read(root / INDEX, 'Import'):
        path = root / str(metafile)
        for number, entry in enumerate(_read(path, 'Models'), 1):
            try:
                models.append(_parse(entry, root))
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as e:
                reason = f'{type(e).__name__}: {e}'
                raise ZooError(f'{path}: model {number} is not described well: {reason}') from e
    return models


def _read(path: Path, key: str) -> list:
    try:
        found = load(path)[key]
    except Exception as e:  # the parser's errors, and those of other types than a dict
        raise ZooError(f'{path} is missing or damaged: {type(e).__name__}: {e}') from e
    if not isinstance(found, list):
        raise ZooError(f'{path}: {key} is {found!r}; a list is needed')
    return found


def _parse(entry: dict, root: Path) -> ZooModel:
    metadata = entry.get('Metadata') or {}
    result = (entry.get('Results') or [{}])[0]
    texts: Dict[str, Any] = dict(
        name=entry['Name'],
        config=entry.get('Config'),
        weights=entry.get('Weights') or metadata.get('Shipped Weights'),
        dataset=result.get('Dataset') or metadata.get('Training Data'),
    )
    numbers: Dict[str, Any] = dict(
        top1=(result.get('Metrics') or {}).get('Top 1 Accuracy'),
        params=metadata.get('Parameters'),
        flops=metadata.get('FLOPs'),
    )
    for found, kinds in ((texts, (str,)), (numbers, (int, float))):
        for name, value in found.items():
            if not isinstance(value, kinds) and (value is not None or name == 'name'):
                raise TypeError(f'{name} is {value!r}')
    urlsplit(texts['weights'] or '')  # raises if it is not a URL
    return ZooModel(root=root, **texts, **numbers)


def find_model(name: str) -> ZooModel:
    """The model of a name; if there is none, a :class:`ZooError` suggests similar names."""
    models = {model.name: model for model in list_models()}
    if name in models:
        return models[name]
    close = get_close_matches(name, models, n=3, cutoff=0.4)
    hint = f'did you mean {" or ".join(close)}?' if close else 'see the list'
    raise ZooError(f'the zoo has no model {name!r}: {hint} (python tools/model_zoo.py list)')


def cached_file(model: ZooModel, dest: Optional[PathLike] = None) -> Path:
    """The path to which :func:`download` writes a model's checkpoint."""
    home = os.getenv('MMRAZOR_BYOT_HOME') or os.path.join(torch.hub.get_dir(), 'mmrazor_byot')
    return Path(os.path.expanduser(dest or home)) / model.file_name


def download(
    name: str,
    dest: Optional[PathLike] = None,
    base_url: Optional[PathLike] = None,
    progress: bool = True,
) -> Path:
    """Download a model's checkpoint, unless the file exists and has the right sha256.

    The sha256 is checked before the file gets its name; on an error an existing file is not
    changed.

    Args:
        name (str): Name of a model in the zoo.
        dest (str | Path, optional): Folder for the file, created if missing. Defaults to the cache
            folder, which ``zoo://NAME`` uses too.
        base_url (str | Path, optional): A mirror, URL or folder, with files of the same names; not
            used for weights that ship with the project. Defaults to ``$MMRAZOR_BYOT_MIRROR``.
        progress (bool): Whether to show a progress bar on stderr. Defaults to True.

    Raises:
        ZooError: The name is unknown, or the file cannot be downloaded or written, is damaged, or
            has no hash in its name.
    """
    model = find_model(name)
    if model.weights is None:
        raise ZooError(f'no weights of {name} are published: train them with {model.config}')
    url, file = model.weights, cached_file(model, dest)
    if model.shipped:
        url = model.shipped.absolute().as_uri()
    elif base := str(base_url or os.getenv('MMRAZOR_BYOT_MIRROR') or ''):
        base = base if '://' in base else Path(os.path.expanduser(base)).absolute().as_uri()
        url = f'{base.rstrip("/")}/{quote(file.name)}'
    if not hash_in_name(file.name):
        raise ZooError(f'{url} cannot be checked: end its name in the digits of its sha256')
    try:
        fetch(url, file, progress)
    except ConfigError as e:
        raise ZooError(f'{e}; name another folder: --dest DIR') from e
    except CheckpointError as e:
        raise ZooError(f'{e}; try again, or name a mirror: --mirror BASE') from e
    except (OSError, ValueError) as e:  # of a path with a NUL or a name that is too long
        raise ZooError(f'{url} or {file} cannot be used: {e}; check --dest and --mirror') from e
    return file


def verify(path: PathLike) -> CheckedFile:
    """Check the hash of a checkpoint, and that it holds weights and no code.

    Raises:
        ZooError: The file has no state dict.
        CheckpointError: The file is missing, damaged, renamed or not a checkpoint, or carries code.
    """
    path = Path(os.path.expanduser(path))
    checkpoint = load_from_local(str(path), 'cpu')
    state = checkpoint.pop('state_dict', None)
    if state is None:
        state, checkpoint = checkpoint, {}
    tensors = list(state.values()) if isinstance(state, dict) else []
    if not tensors or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise ZooError(f"{path} holds no state dict: save a model's state_dict() in it")
    meta = checkpoint.pop('meta', {})
    return CheckedFile(
        path=path,
        size=path.stat().st_size,
        sha256=sha256(path),
        expected_sha256=hash_in_name(path.name),
        tensors=len(state),
        parameters=sum(t.numel() for key, t in state.items() if not str(key).endswith(_BUFFERS)),
        meta=meta if isinstance(meta, dict) else {},
        others=sorted(map(str, checkpoint)),
    )


def load_from_zoo(filename: str, map_location: Any = None) -> Dict[str, Any]:
    """Load ``zoo://NAME`` in MMEngine; the first process of each node downloads it."""
    name = filename.removeprefix('zoo://')
    once_per_node(lambda: download(name))
    return load_from_local(str(cached_file(find_model(name))), map_location)


def register() -> None:
    """Add the zoo's models to ``get_model`` and ``list_models`` of mmpretrain."""
    from mmpretrain.apis.model import ModelHub

    root, models = find_root(), list_models()
    if not ModelHub.has(models[0].name):
        ModelHub.register_model_index(root / INDEX, config_prefix=root)
    for model in models:
        if model.weights:  # loaded by load_from_zoo, which checks the hash
            ModelHub._models_dict[model.name].weights = f'zoo://{model.name}'
