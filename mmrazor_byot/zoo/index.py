"""What is in the zoo: ``model-index.yml`` and its metafiles, read as models.

The format is the one that OpenMMLab's ``mim`` reads.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, List, Optional
from urllib.parse import unquote, urlsplit

import yaml

from ..errors import ZooError

INDEX = 'model-index.yml'


@dataclass(frozen=True)
class ZooModel:
    """One model of the zoo.

    Attributes:
        name: Its name in the metafile, without ``.py``.
        root: The folder of ``model-index.yml``; relative paths start here.
        config: Path of its config, relative to ``root``.
        weights: Address of its checkpoint, or a path relative to ``root``;
            None while nothing is published.
        dataset: The dataset that ``top1`` was measured on.
        top1: Top-1 accuracy in per cent.
        params: Number of parameters.
        flops: Floating point operations for one image.
    """

    name: str
    root: Path
    config: Optional[str] = None
    weights: Optional[str] = None
    dataset: Optional[str] = None
    top1: Optional[float] = None
    params: Optional[float] = None
    flops: Optional[float] = None

    @property
    def file_name(self) -> Optional[str]:
        """Name of the checkpoint's file: the end of its address."""
        if self.weights is None:
            return None
        return PurePosixPath(unquote(urlsplit(self.weights).path)).name

    @property
    def shipped(self) -> Optional[Path]:
        """The checkpoint's file if it ships with the project, else None."""
        if self.weights is None or urlsplit(self.weights).scheme:
            return None
        return self.root / self.weights


def find_root() -> Path:
    """Find the folder of ``model-index.yml``.

    An installed package carries it in ``.mim``, beside the configs; in a
    checkout it lies beside the package.

    Raises:
        ZooError: If neither place has it.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package / '.mim', package.parent):
        if (root / INDEX).is_file():
            return root
    raise ZooError(
        f'no {INDEX} in {package / ".mim"} or {package.parent}: '
        'install mmrazor_byot again, or run from a checkout'
    )


def list_models(root: Optional[Path] = None) -> List[ZooModel]:
    """List all models of the zoo in the order of the metafiles.

    Args:
        root: Folder of ``model-index.yml``. Defaults to the project's own.

    Raises:
        ZooError: If the index or a metafile is missing or malformed.
    """
    root = find_root() if root is None else Path(root)
    models = {}
    for metafile in _entries(root / INDEX, 'Import'):
        source = root / str(metafile)
        for entry in _entries(source, 'Models'):
            model = _read_model(entry, root, source)
            if model.name in models:
                raise ZooError(
                    f'{source}: the name {model.name} is taken by another model: rename one of them'
                )
            models[model.name] = model
    return list(models.values())


def find_model(name: str) -> ZooModel:
    """Find a model by its name.

    Raises:
        ZooError: If there is none; names the closest ones.
    """
    models = {model.name: model for model in list_models()}
    if name in models:
        return models[name]
    close = get_close_matches(name, models, n=3, cutoff=0.4)
    hint = f'did you mean {" or ".join(close)}?' if close else 'see the list'
    raise ZooError(f'the zoo has no model {name!r}: {hint} (python tools/model_zoo.py list)')


def _entries(path: Path, key: str) -> list:
    """The list under ``key`` of a YAML file."""
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())
        raise ZooError(f'can not read {path}: {reason}') from error
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ZooError(
            f'{path} has no list {key!r}: see the format of model-index.yml and metafile.yml'
        )
    return entries


def _read_model(entry: Any, root: Path, source: Path) -> ZooModel:
    """Make a model of one entry under ``Models``."""
    if not isinstance(entry, dict) or not entry.get('Name'):
        raise ZooError(f'{source}: a model has no Name: give it one')
    name = str(entry['Name'])
    where = f'{source}, model {name}'
    metadata = _mapping(entry.get('Metadata'), f'{where}: Metadata')
    weights = entry.get('Weights') or metadata.get('Shipped Weights')
    if weights is not None and not isinstance(weights, str):
        raise ZooError(f'{where}: Weights is {weights!r}: give one address')
    dataset, top1 = _read_results(entry.get('Results'), where)
    params = metadata.get('Parameters', metadata.get('Params'))
    return ZooModel(
        name=name,
        root=root,
        config=_text(entry.get('Config')),
        weights=weights or None,
        dataset=_text(dataset or metadata.get('Training Data')),
        top1=top1,
        params=_number(params, f'{where}: Parameters'),
        flops=_number(metadata.get('FLOPs'), f'{where}: FLOPs'),
    )


def _read_results(results: Any, where: str) -> tuple:
    """Dataset and top-1 accuracy of the first result that has one."""
    results = results if isinstance(results, list) else [results or {}]
    dataset = None
    for result in results:
        result = _mapping(result, f'{where}: Results')
        metrics = _mapping(result.get('Metrics'), f'{where}: Metrics')
        dataset = dataset or result.get('Dataset')
        if 'Top 1 Accuracy' in metrics:
            top1 = metrics['Top 1 Accuracy']
            return (result.get('Dataset'), _number(top1, f'{where}: Top 1 Accuracy'))
    return dataset, None


def _mapping(value: Any, where: str) -> dict:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ZooError(f'{where} is {value!r}: give keys and values')
    return value


def _text(value: Any) -> Optional[str]:
    if isinstance(value, list):
        value = ', '.join(map(str, value))
    return None if value is None else str(value)


def _number(value: Any, where: str) -> Optional[float]:
    """A number, also where YAML 1.1 takes ``5.6e8`` for text."""
    if value is None:
        return None
    try:
        return value if type(value) in (int, float) else float(str(value))
    except ValueError as error:
        raise ZooError(f'{where} is {value!r}: give a number') from error
