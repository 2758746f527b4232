"""What an exported file says about itself: ONNX ``metadata_props``.

The last entry is the sha256 of all bytes before it: the graph and the other entries. In protobuf's
encoding that entry has a fixed length, so it is found without the onnx package.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Dict, List, Optional

from mmrazor_byot.errors import DeployError
from mmrazor_byot.files import PathLike

FORMAT = 'mmrazor_byot early-exit network'
VERSION = '1'
EXPORT = 'tools/deploy/export_onnx.py CONFIG CHECKPOINT --out model.onnx'
#: Field 14 of 74 bytes; in it field 1, the key, and field 2 of 64 bytes, the digits.
SEAL = b'\x72\x4a\x0a\x06sha256\x12\x40'
DIGITS = 64


@dataclasses.dataclass
class Metadata:
    """The entries: strings as they are, all else as JSON.

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
        """The entries as the file holds them."""
        entries = dict(format=FORMAT, format_version=VERSION, **dataclasses.asdict(self))
        return {k: v if isinstance(v, str) else json.dumps(v) for k, v in entries.items()}

    @classmethod
    def of_props(cls, props: Dict[str, str], path: PathLike) -> 'Metadata':
        """Read the entries of a file.

        Raises:
            DeployError: They are of another version.
        """
        if props.get('format_version') != VERSION:
            raise DeployError(
                f'"{path}" has format version {props.get("format_version")}, this mmrazor_byot '
                f'reads {VERSION}; install version {props.get("version")} of it, or export again'
            )
        return cls(
            **{
                field.name: props[field.name]
                if field.type is str
                else json.loads(props[field.name])
                for field in dataclasses.fields(cls)
            }
        )

    @property
    def exit_numbers(self) -> List[int]:
        """Numbers of the exits in the graph, from 1, in their order."""
        return [row['exit'] for row in self.exits]


def seal(data: bytes) -> bytes:
    """Append the entry ``sha256`` to the bytes of a model."""
    return data + SEAL + hashlib.sha256(data).hexdigest().encode()


def read_sealed(path: PathLike) -> bytes:
    """Read an exported file, and see that it is whole and as it was exported.

    Raises:
        DeployError: It is missing, truncated, changed, or not an exported file.
    """
    path = Path(path)
    if path.is_dir():
        old = ', an export of mmrazor_byot 0.1' if (path / 'manifest.json').is_file() else ''
        raise DeployError(f'"{path}" is a folder{old}; an export is now one file: {EXPORT}')
    try:
        data = path.read_bytes()
    except OSError as e:
        raise DeployError(f'cannot read "{path}": {e.strerror or e}') from e
    body, entry = data[: -len(SEAL) - DIGITS], data[-len(SEAL) - DIGITS :]
    if not entry.startswith(SEAL):
        raise DeployError(
            f'"{path}" ({len(data)} bytes) is truncated, or was not written by {EXPORT}'
        )
    if seal(body) != data:
        raise DeployError(
            f'"{path}" was changed after its export: its sha256 is not the one that it names; copy '
            'or export it again'
        )
    return data
