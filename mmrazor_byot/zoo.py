"""The model zoo: list, download and verify published checkpoints.

Its models are in ``model-index.yml`` and the metafiles that it imports. ``Weights`` of a model are
a URL, or the path of a file that ships with the project; as mim knows URLs only, the path may be
``Shipped Weights`` under ``Metadata``. Downloads are kept in ``$MMRAZOR_BYOT_HOME``, or
``mmrazor_byot`` in torch's hub folder. ``$MMRAZOR_BYOT_MIRROR`` replaces published URLs.
"""

import os
import re
import socket
from dataclasses import dataclass
from difflib import get_close_matches
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any, Dict, List, Optional
from urllib.error import URLError
from urllib.parse import quote, unquote, urlsplit

import torch.hub
from mmengine.dist import all_gather_object
from mmengine.fileio import load

from .checkpoint import load_from_local
from .errors import ConfigError, ZooError
from .files import PathLike, check_writable, sha256

INDEX = 'model-index.yml'
TIMEOUT_S = 30  # without any byte, and to connect
_BUFFERS = ('running_mean', 'running_var', 'num_batches_tracked')  # saved, but not learned


@dataclass(frozen=True)
class ZooModel:
    """A model of the zoo; paths start at ``root``, and what is not known is None."""

    name: str
    root: Path
    config: Optional[str] = None
    weights: Optional[str] = None
    dataset: Optional[str] = None
    top1: Optional[float] = None
    params: Optional[int] = None
    flops: Optional[int] = None

    @property
    def file_name(self) -> Optional[str]:
        """Name of the checkpoint's file: the end of its URL."""
        return self.weights and PurePosixPath(unquote(urlsplit(self.weights).path)).name

    @property
    def shipped(self) -> Optional[Path]:
        """The checkpoint's file if it ships with the project."""
        is_path = self.weights and not urlsplit(self.weights).scheme
        return self.root / self.weights if is_path else None


@dataclass(frozen=True)
class CheckedFile:
    """What :func:`verify` found in a checkpoint."""

    path: Path
    size: int
    sha256: str
    expected_sha256: str  #: Its beginning, from the file's name, if any.
    tensors: int
    parameters: int  #: Values, without the running statistics of batch normalization.
    meta: Dict[str, Any]
    others: List[str]  #: Keys beside weights and ``meta``.


def find_root() -> Path:
    """The folder of ``model-index.yml``: ``.mim`` when installed, else the checkout."""
    package = Path(__file__).resolve().parent
    return package / '.mim' if (package / '.mim' / INDEX).is_file() else package.parent


def list_models() -> List[ZooModel]:
    """All models of the zoo, in the order of the metafiles."""
    root, models = find_root(), []
    for metafile in load(root / INDEX)['Import']:
        for entry in load(root / metafile)['Models']:
            metadata = entry.get('Metadata', {})
            result = entry.get('Results', [{}])[0]
            models.append(
                ZooModel(
                    name=entry['Name'],
                    root=root,
                    config=entry.get('Config'),
                    weights=entry.get('Weights') or metadata.get('Shipped Weights'),
                    dataset=result.get('Dataset') or metadata.get('Training Data'),
                    top1=result.get('Metrics', {}).get('Top 1 Accuracy'),
                    params=metadata.get('Parameters'),
                    flops=metadata.get('FLOPs'),
                )
            )
    return models


def find_model(name: str) -> ZooModel:
    """The model of that name; a :class:`ZooError` names close ones if there is none."""
    models = {model.name: model for model in list_models()}
    if name in models:
        return models[name]
    close = get_close_matches(name, models, n=3, cutoff=0.4)
    hint = f'did you mean {" or ".join(close)}?' if close else 'see the list'
    raise ZooError(f'the zoo has no model {name!r}: {hint} (python tools/model_zoo.py list)')


def hash_in_name(file_name: str) -> str:
    """The digits of the sha256 that end a name, as in ``net-0251084e.pth``; maybe none."""
    found = re.search(r'-([0-9a-fA-F]{8,64})\.\w+$', file_name)
    return found.group(1).lower() if found else ''


def cached_file(model: ZooModel, dest: Optional[PathLike] = None) -> Path:
    """Where :func:`download` puts a model's checkpoint."""
    home = os.getenv('MMRAZOR_BYOT_HOME') or os.path.join(torch.hub.get_dir(), 'mmrazor_byot')
    return Path(dest or home).expanduser() / str(model.file_name)


def download(
    name: str,
    dest: Optional[PathLike] = None,
    base_url: Optional[PathLike] = None,
    progress: bool = True,
) -> Path:
    """Download a model's checkpoint, unless a good copy is there already.

    The file appears whole and with the sha256 of its name, or an older one stays as it was.

    Args:
        name (str): Name of a model in the zoo.
        dest (str | Path, optional): Folder for the file, made if need be. Defaults to the cache
            folder, where ``zoo://NAME`` looks too.
        base_url (str | Path, optional): A mirror with files of the same names, a URL or a folder;
            not for what ships with the project. Defaults to ``$MMRAZOR_BYOT_MIRROR``.
        progress (bool): Whether to show a progress bar on the standard error.

    Raises:
        ZooError: The name is unknown, or the file out of reach, damaged, without a hash in its
            name, or cannot be written.
    """
    model = find_model(name)
    if model.weights is None:
        raise ZooError(f'no weights of {name} are published: train them with {model.config}')
    url, file, expected = model.weights, cached_file(model, dest), hash_in_name(model.file_name)
    base = str(base_url or os.getenv('MMRAZOR_BYOT_MIRROR') or '')
    if model.shipped:
        url = model.shipped.absolute().as_uri()
    elif base:
        base = base if '://' in base else Path(base).expanduser().absolute().as_uri()
        url = f'{base.rstrip("/")}/{quote(file.name)}'
    if not expected:
        raise ZooError(f'{url} cannot be checked: end its name in the digits of its sha256')
    endless = socket.getdefaulttimeout() is None
    try:
        if not (file.is_file() and sha256(file).startswith(expected)):
            check_writable(file)
            file.parent.mkdir(parents=True, exist_ok=True)
            if endless:  # torch.hub sets no timeout
                socket.setdefaulttimeout(TIMEOUT_S)
            torch.hub.download_url_to_file(url, str(file), expected, progress)
    except ConfigError as e:
        raise ZooError(f'{e}; name another folder: --dest DIR') from e
    except (URLError, HTTPException, ValueError, TimeoutError, ConnectionError) as e:
        raise ZooError(f'cannot fetch {url} ({e}); name a mirror: --mirror BASE') from e
    except OSError as e:
        raise ZooError(f'cannot write {file}: {e.strerror or e}; name another: --dest DIR') from e
    except RuntimeError as e:
        raise ZooError(f'{url} is damaged or broke off: {e}. Try again, or another mirror') from e
    finally:
        if endless:
            socket.setdefaulttimeout(None)
    return file


def verify(path: PathLike) -> CheckedFile:
    """Check a checkpoint: its hash, and that it is weights and no code.

    Raises:
        ZooError: It is missing, damaged or renamed, or has no state dict.
        CheckpointError: It is not a checkpoint, or carries code.
    """
    path = Path(path).expanduser()
    expected = hash_in_name(path.name)
    try:
        digest = sha256(path)
    except OSError as e:
        raise ZooError(f'cannot read {path}: {e.strerror}') from e
    if not digest.startswith(expected):
        raise ZooError(f'{path} is damaged or renamed: its sha256 is {digest}; download it again')
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
        sha256=digest,
        expected_sha256=expected,
        tensors=len(state),
        parameters=sum(t.numel() for key, t in state.items() if not str(key).endswith(_BUFFERS)),
        meta=meta if isinstance(meta, dict) else {},
        others=sorted(map(str, checkpoint)),
    )


def load_from_zoo(filename: str, map_location: Any = None) -> Dict[str, Any]:
    """Load ``zoo://NAME`` in MMEngine; the first process of a node downloads, the others wait.

    They wait for the process group's timeout at most. All raise the error of one.
    """
    name, error = filename.removeprefix('zoo://'), None
    if int(os.getenv('LOCAL_RANK', '0')) == 0:
        try:
            download(name)
        except Exception as e:
            error = e
    reasons = [text for text in all_gather_object(error and str(error)) if text is not None]
    if reasons:
        raise error or ZooError(reasons[0])
    return load_from_local(str(cached_file(find_model(name))), map_location)


def register() -> None:
    """Let ``get_model`` and ``list_models`` of mmpretrain find the zoo's models."""
    from mmpretrain.apis.model import ModelHub

    root, models = find_root(), list_models()
    if not ModelHub.has(models[0].name):
        ModelHub.register_model_index(root / INDEX, config_prefix=root)
    for model in models:
        if model.weights:  # by the zoo, which checks the hash
            ModelHub._models_dict[model.name].weights = f'zoo://{model.name}'
