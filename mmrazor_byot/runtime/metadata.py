"""What an exported file says about itself: ONNX ``metadata_props``, read without the onnx package.

An ONNX file is one protobuf message. Its graph is field 7; each entry of ``metadata_props`` is a
message in a field 14, with its key as field 1 and its value as field 2.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

from mmrazor_byot.errors import DeployError
from mmrazor_byot.files import PathLike

FORMAT = 'mmrazor_byot early-exit network'
VERSION = 1
GRAPH, PROPS = 7, 14
EXPORT = 'tools/deploy/export_onnx.py CONFIG CHECKPOINT --out model.onnx'


@dataclasses.dataclass
class Metadata:
    """The entries of ``metadata_props``: strings as they are, all else as JSON.

    Attributes:
        recipe (str): Name of the config.
        precision (str): ``'fp32'`` or ``'int8'``.
        num_exits (int): Exits of the trained network, C.
        num_classes (int): Classes, K.
        input_size (list[int]): Height and width of ``image``.
        resize (list[dict]): How an image comes to that size, see
            :func:`mmrazor_byot.runtime.resize.prepare`.
        exits (list[dict]): Of each exit in the graph: ``exit``, its number from 1; ``macs`` of an
            image that stops there, the heads before it included, a multiply-add being one;
            ``top1``, its accuracy on the test images in percent, None if it was not measured.
        thresholds (list[float]): The policy's; empty if the graph has no such input.
        policy (dict): ``type`` and arguments of the exit policy.
        policy_top1 (float | None): Accuracy on the test images, in percent, with these thresholds.
        classes (list[str]): Names of the K classes, or their numbers.
        checkpoint (str): Name of the checkpoint.
        checkpoint_sha256 (str): Its sha256; empty if it was not a file.
        license (str): Of the weights, as the config states it.
        version (str): Of mmrazor_byot.
        graph_sha256 (str): Sha256 of the graph's bytes in the file.
    """

    recipe: str
    precision: str
    num_exits: int
    num_classes: int
    input_size: List[int]
    resize: List[dict]
    exits: List[dict]
    thresholds: List[float]
    policy: dict
    policy_top1: Optional[float]
    classes: List[str]
    checkpoint: str
    checkpoint_sha256: str
    license: str
    version: str
    graph_sha256: str = ''

    def props(self) -> Dict[str, str]:
        """The entries as the file holds them."""
        entries = dict(format=FORMAT, format_version=VERSION, **dataclasses.asdict(self))
        return {k: v if isinstance(v, str) else json.dumps(v) for k, v in entries.items()}

    @property
    def exit_numbers(self) -> List[int]:
        """Numbers of the exits in the graph, from 1, in their order."""
        return [row['exit'] for row in self.exits]


def read_file(path: PathLike) -> Tuple[bytes, Metadata]:
    """Read an exported file, and see that it is whole and as it was exported.

    Returns:
        tuple: Its bytes, and what it says about itself.

    Raises:
        DeployError: It is missing, truncated, changed, not ONNX, or not one of ours.
    """
    path = Path(path)
    if path.is_dir():
        old = ', an export of mmrazor_byot 0.1' if (path / 'manifest.json').is_file() else ''
        raise DeployError(f'"{path}" is a folder{old}; an export is now one file: {EXPORT}')
    try:
        data = path.read_bytes()
    except OSError as e:
        raise DeployError(f'cannot read "{path}": {e.strerror or e}') from e
    try:
        graph, props = _take_apart(data)
    except (ValueError, IndexError) as e:
        raise DeployError(
            f'"{path}" ({len(data)} bytes) is truncated or not an ONNX file; copy it again'
        ) from e
    if props.get('format') != FORMAT:
        raise DeployError(
            f'"{path}" is not a file of mmrazor_byot: it lacks our metadata; {EXPORT} writes one'
        )
    if props.get('format_version') != str(VERSION):
        raise DeployError(
            f'"{path}" has format version {props.get("format_version")}, this mmrazor_byot reads '
            f'{VERSION}; install the version that wrote it ({props.get("version", "unknown")})'
        )
    metadata = _parse(props, path)
    if hashlib.sha256(graph).hexdigest() != metadata.graph_sha256:
        raise DeployError(
            f'"{path}" was changed after its export: the sha256 of its graph is not the one in '
            'its metadata; copy or export it again'
        )
    return data, metadata


def graph_sha256(data: bytes) -> str:
    """Sha256 of the graph in the bytes of an ONNX file."""
    return hashlib.sha256(_take_apart(data)[0]).hexdigest()


def _parse(props: Dict[str, str], path: Path) -> Metadata:
    """The entries as Python objects of the right types."""
    try:
        values = {}
        for field in dataclasses.fields(Metadata):
            text = props[field.name]
            values[field.name] = text if field.type is str else json.loads(text)
        metadata = Metadata(**values)
        sizes = metadata.num_exits, metadata.num_classes, *metadata.input_size
        numbers = metadata.exit_numbers
        if not all(type(n) is int and n > 0 for n in (*sizes, *numbers)) or len(sizes) != 4:
            raise ValueError('sizes')
        if numbers != sorted(set(numbers)) or numbers[-1] > metadata.num_exits:
            raise ValueError('exits')
        if len(metadata.classes) != metadata.num_classes:
            raise ValueError('classes')
        if metadata.thresholds and len(metadata.thresholds) != len(numbers) - 1:
            raise ValueError('thresholds')
        metadata.thresholds = [float(t) for t in metadata.thresholds]
    except (KeyError, TypeError, ValueError, LookupError, RecursionError) as e:
        raise DeployError(
            f'"{path}" has damaged metadata ({type(e).__name__}: {e}); export it again'
        ) from e
    return metadata


def _take_apart(data: bytes) -> Tuple[memoryview, Dict[str, str]]:
    """The bytes of the graph, and the metadata; ValueError or IndexError if it is not ONNX."""
    graph, props = None, {}
    for number, value in _fields(memoryview(data)):
        if number == GRAPH:
            graph = value
        elif number == PROPS:
            entry = dict(_fields(value))
            props[bytes(entry[1]).decode()] = bytes(entry.get(2, b'')).decode()
    if not graph:
        raise ValueError('no graph')
    return graph, props


def _fields(data: memoryview) -> Iterator[Tuple[int, memoryview]]:
    """The fields of a protobuf message: number, and content of those that have a length."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            _, place = _varint(data, place)
            continue
        if kind == 2:
            length, place = _varint(data, place)
        else:
            length = {1: 8, 5: 4}.get(kind, len(data))
        if not number or place + length > len(data):
            raise ValueError('not a message')
        yield number, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> Tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError('not a number')
