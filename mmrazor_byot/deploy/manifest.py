"""What stands in an exported folder: its manifest. It needs no torch."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

from mmrazor_byot.errors import DeployError

NAME = 'manifest.json'
FORMAT = 'mmrazor_byot deployed network'
VERSION = 1

#: What a precision's files are called.
ENDINGS = dict(fp32='onnx', int8='int8.onnx')


@dataclasses.dataclass
class Manifest:
    """The content of ``manifest.json``.

    Attributes:
        network (str): Name of the recipe.
        source (dict): Names of ``config`` and ``checkpoint``, and what wrote
            the folder.
        opset (int): Of all ONNX files.
        num_exits (int): Exits, C.
        num_classes (int): Classes, K.
        classes (list[str] | None): Their names; None where the checkpoint
            does not name K.
        input_size (list[int]): Height and width of the images.
        resize (list[dict]): How an image comes to that size, see
            :mod:`mmrazor_byot.deploy.images`.
        exits (list[dict]): Of exit 1 to C and the ensemble: ``exit``,
            ``params``, ``flops``.
        stages (list[dict]): Of stage 1 to C: ``inputs``, the names of the
            state it takes, ``outputs``, of the state it leaves, and the
            ``section_flops`` and ``head_flops`` that it costs.
        files (dict): Precision to file name to sha256.
        policy (dict | None): Content of a policy file.
        check (dict): What the logits were compared on, and how far they were
            from torch's.
        results (dict): Precision to the accuracy of each exit and the
            milliseconds it took where it was exported.
    """

    network: str
    source: Dict[str, str]
    opset: int
    num_exits: int
    num_classes: int
    classes: Optional[List[str]]
    input_size: List[int]
    resize: List[dict]
    exits: List[dict]
    stages: List[dict]
    files: Dict[str, Dict[str, str]]
    policy: Optional[dict] = None
    check: dict = dataclasses.field(default_factory=dict)
    results: Dict[str, list] = dataclasses.field(default_factory=dict)

    def text(self) -> str:
        """The file's text."""
        content = dataclasses.asdict(self)
        return json.dumps(dict(format=FORMAT, version=VERSION, **content), indent=2) + '\n'


def file_name(part: str, number: int, precision: str = 'fp32') -> str:
    """Name of an ONNX file.

    Args:
        part (str): ``'exit'``, image to the logits of that exit;
            ``'stage'``, state to the next state and the logits; or
            ``'trunk'``, the stage without its head.
        number (int): The exit, 1 to C.
        precision (str): ``'fp32'`` or ``'int8'``.
    """
    return f'{part}_{number}.{ENDINGS[precision]}'


def needed_files(stages: List[dict], precision: str) -> List[str]:
    """Names of the files that a precision has.

    Args:
        stages (list[dict]): See :class:`Manifest`.
        precision (str): ``'fp32'`` or ``'int8'``.
    """
    parts = [(part, i) for i in range(1, len(stages) + 1) for part in ('exit', 'stage')]
    parts += [('trunk', i) for i, stage in enumerate(stages, start=1) if computed(stage)]
    return [file_name(part, i, precision) for part, i in parts]


def computed(stage: dict) -> List[str]:
    """The part of a stage's state that it computes itself.

    Args:
        stage (dict): ``inputs`` and ``outputs``, see :class:`Manifest`.
    """
    return [name for name in stage['outputs'] if name not in stage['inputs']]


def sha256(path: Union[str, Path]) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_manifest(folder: Union[str, Path]) -> Manifest:
    """Read the manifest of an exported folder.

    Args:
        folder (str | Path): The folder.

    Returns:
        Manifest: Its content.

    Raises:
        DeployError: There is none, it is broken, or of another version.
    """
    path = Path(folder, NAME)
    again = 'export the network again with tools/deploy/export_onnx.py'
    if not path.is_file():
        raise DeployError(
            f'"{folder}" is no exported network: it has no '
            f'{NAME}; tools/deploy/export_onnx.py writes one'
        )
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (UnicodeDecodeError, json.JSONDecodeError) as e:
        raise DeployError(f'"{path}" is truncated or no JSON ({e}); {again}') from e
    if not isinstance(content, dict) or content.pop('format', None) != FORMAT:
        raise DeployError(f'"{path}" is no manifest of an exported network; {again}')
    version = content.pop('version', None)
    if version != VERSION:
        raise DeployError(
            f'"{path}" has format version {version!r}, this mmrazor_byot reads {VERSION}; {again}'
        )
    try:
        manifest = Manifest(**content)
        _check_content(manifest)
    except (TypeError, KeyError, ValueError) as e:
        raise DeployError(f'"{path}" is damaged ({e}); {again}') from e
    return manifest


def check_files(folder: Union[str, Path], manifest: Manifest, precision: str) -> None:
    """See that the files of a precision are those that were exported.

    Args:
        folder (str | Path): The folder.
        manifest (Manifest): What it should hold.
        precision (str): ``'fp32'`` or ``'int8'``.

    Raises:
        DeployError: It lacks the precision, or a file, or one has changed.
    """
    known = manifest.files.get(precision)
    if known is None:
        raise DeployError(
            f'"{folder}" has no {precision} files, only '
            f'{" and ".join(manifest.files)}; export the network again'
            + (' with --int8' if precision == 'int8' else '')
        )
    for name in needed_files(manifest.stages, precision):
        path = Path(folder, name)
        if not path.is_file():
            raise DeployError(f'"{folder}" lacks {name}; copy or export it again')
        if sha256(path) != known.get(name):
            raise DeployError(
                f'"{path}" is not the file that was exported: '
                'its sha256 is not that of the manifest; copy '
                'or export it again'
            )


def _check_content(manifest: Manifest) -> None:
    """See that what the runtime relies on is there.

    Raises:
        KeyError, TypeError, ValueError: It is not.
    """
    counts = (manifest.opset, manifest.num_exits, manifest.num_classes, *manifest.input_size)
    if not all(type(n) is int and n > 0 for n in counts):
        raise ValueError('opset, num_exits, num_classes and input_size must be positive')
    if len(manifest.input_size) != 2:
        raise ValueError('input_size must be height and width')
    if len(manifest.stages) != manifest.num_exits:
        raise ValueError(f'{len(manifest.stages)} stages for {manifest.num_exits} exits')
    names: Tuple[str, ...] = ('image',)
    for stage in manifest.stages:
        if tuple(stage['inputs']) != names:
            raise ValueError('a stage does not take what the one before it leaves')
        names = tuple(stage['outputs'])
    if manifest.classes and len(manifest.classes) != manifest.num_classes:
        raise ValueError(f'{len(manifest.classes)} classes named, {manifest.num_classes} counted')
