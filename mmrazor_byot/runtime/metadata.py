"""Metadata of an exported file, stored as ONNX ``metadata_props``.

The last entry is the sha256 of all bytes before it, the graph and the other entries. In protobuf's
encoding that entry has a fixed length, so it can be checked without the onnx package.
"""

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, get_args, get_origin

from mmrazor_byot.errors import DeployError
from mmrazor_byot.files import PathLike

FORMAT = 'mmrazor_byot early-exit network'
VERSION = '1'
EXPORT = 'tools/deploy/export_onnx.py CONFIG CHECKPOINT --out model.onnx'
#: Protobuf: field 14 of 74 bytes, with the key as field 1 and the digits, 64 bytes, as field 2.
SHA256_ENTRY = b'\x72\x4a\x0a\x06sha256\x12\x40'
DIGITS = 64


@dataclasses.dataclass
class Metadata:
    """Metadata of an exported file; all entries but strings are stored as JSON.

    Attributes:
        recipe (str): Name of the config.
        precision (str): ``'fp32'`` or ``'int8'``.
        num_exits (int): Exits of the trained network, C.
        num_classes (int): Classes, K.
        input_size (list[int]): Height and width of ``image``.
        resize (list[dict]): Steps of :func:`mmrazor_byot.runtime.resize.prepare` that bring an
            image to that size.
        exits (list[dict]): For each exit in the graph ``exit``, its number from 1; ``macs`` of an
            image that stops there, earlier heads included; ``top1``, its accuracy on the test
            images in percent, or None if it was not measured.
        thresholds (list[float]): Default thresholds; empty if the graph has no such input.
        policy (dict): ``type`` and arguments of the exit policy.
        policy_top1 (float | None): Accuracy on the test images with these thresholds, in percent.
        classes (list[str]): Names of the K classes, or their numbers.
        checkpoint (str): Name of the checkpoint.
        checkpoint_sha256 (str): Its sha256; empty if it is not a file.
        license (str): License of the weights, as stated in the config.
        version (str): Version of mmrazor_byot.
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

    def props(self) -> Dict[str, str]:
        """The entries as they are stored."""
        entries = dict(format=FORMAT, format_version=VERSION, **dataclasses.asdict(self))
        return {k: v if isinstance(v, str) else json.dumps(v) for k, v in entries.items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str], path: PathLike) -> 'Metadata':
        """Parse the entries of a file.

        Raises:
            DeployError: They have another format version, or one is missing or of another type.
        """
        if props.get('format_version') != VERSION:
            raise DeployError(
                f'"{path}" has format version {props.get("format_version")}, this mmrazor_byot '
                f'reads {VERSION}; install version {props.get("version")} of it, or export again'
            )
        values: Dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            text, value = props.get(field.name), None
            with contextlib.suppress(TypeError, ValueError, RecursionError):
                value = text if field.type is str else json.loads(text or '')
            if text is None or not _has_type(value, field.type):
                raise DeployError(
                    f'"{path}": its metadata have {text!r:.100} for {field.name}; export it again'
                )
            values[field.name] = value
        if not all({'exit', 'macs', 'top1'} <= row.keys() for row in values['exits']):
            raise DeployError(f'"{path}": its metadata do not describe its exits; export it again')
        return cls(**values)

    @property
    def exit_numbers(self) -> List[int]:
        """Numbers of the exits in the graph, from 1."""
        return [row['exit'] for row in self.exits]


def _has_type(value: Any, kind: Any) -> bool:
    parts = get_args(kind)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_has_type(item, parts[0]) for item in value)
    if parts:  # of an Optional
        return any(_has_type(value, part) for part in parts)
    return type(value) is kind or (kind is float and type(value) is int)


def append_sha256(data: bytes) -> bytes:
    """Append the entry ``sha256`` to a serialized model."""
    return data + SHA256_ENTRY + hashlib.sha256(data).hexdigest().encode()


def read_verified(path: PathLike) -> bytes:
    """Read an exported file and verify its sha256.

    Raises:
        DeployError: The file is missing, truncated, changed, or not an exported file.
    """
    path = Path(path)
    if path.is_dir():
        old = ', an export of mmrazor_byot 0.1' if (path / 'manifest.json').is_file() else ''
        raise DeployError(f'"{path}" is a folder{old}; an export is now one file: {EXPORT}')
    try:
        data = path.read_bytes()
    except OSError as e:
        raise DeployError(f'cannot read "{path}": {e.strerror or e}') from e
    body, entry = data[: -len(SHA256_ENTRY) - DIGITS], data[-len(SHA256_ENTRY) - DIGITS :]
    if not entry.startswith(SHA256_ENTRY):
        raise DeployError(
            f'"{path}" ({len(data)} bytes) is truncated, or was not written by {EXPORT}'
        )
    if append_sha256(body) != data:
        raise DeployError(
            f'"{path}" was changed after its export: its sha256 differs from the one in its '
            'metadata; copy or export it again'
        )
    return data
