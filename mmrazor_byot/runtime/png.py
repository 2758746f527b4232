"""Are all rows of a PNG there? Pillow leaves those that are missing black, without an error."""

import struct
import zlib
from typing import IO

from mmrazor_byot.errors import DatasetError

#: First column and row, and steps, of the seven passes of an interlaced PNG.
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip


def check_png_rows(file: IO[bytes], name: str) -> None:
    """Refuse a PNG whose compressed data end before its last row.

    Args:
        file (IO[bytes]): The open file; its position stays what it is.
        name (str): What the error message calls the image.

    Raises:
        DatasetError: Rows are missing.
    """
    unpack, found, expected = zlib.decompressobj(), 0, 1
    position = file.tell()
    file.seek(8)
    while found < expected and len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], 'big'), head[4:]
        data = file.read(length + 4)[:length]
        if kind == b'IHDR':
            expected = _png_bytes(*struct.unpack('>IIBBBBB', data))
        # Piece by piece, and no further than needed, as its size is unknown.
        while kind == b'IDAT' and data and found < expected:
            found += len(unpack.decompress(data, 1 << 20))
            data = unpack.unconsumed_tail
    file.seek(position)
    if found < expected:
        raise DatasetError(
            f'{name} is truncated: its last rows are missing ({found} of {expected} bytes of '
            'pixels); copy it again'
        )


def _png_bytes(width: int, height: int, depth: int, color: int, *rest: int) -> int:
    """How many bytes the rows of a PNG are before compression, by the fields of its header."""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    size = 0
    for left, top, across, down in _ADAM7 if rest[-1] else ((0, 0, 1, 1),):
        columns, rows = -((left - width) // across), -((top - height) // down)
        size += rows * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
    return size
