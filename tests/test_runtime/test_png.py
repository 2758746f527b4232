"""PNG files that are whole but for their last rows."""

import struct
import zlib

import numpy as np
import pytest

from mmrazor_byot.errors import DatasetError
from mmrazor_byot.runtime.images import read_image


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def png(rows, height, width, depth=8, color=0, interlaced=0, step=1 << 30):
    """A PNG of these filtered rows, whole in all else; ``step`` bytes to each of its parts."""
    header = struct.pack('>IIBBBBB', width, height, depth, color, 0, 0, interlaced)
    data = zlib.compress(rows)
    parts = [chunk(b'IDAT', data[i : i + step]) for i in range(0, len(data), step)]
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + b''.join(parts) + chunk(b'IEND', b'')


#: When a pixel of 8 x 8 comes in an interlaced PNG, from its specification.
PASSES = np.array(
    [[1, 6, 4, 6, 2, 6, 4, 6], [7] * 8, [5, 6] * 4, [7] * 8,
     [3, 6, 4, 6] * 2, [7] * 8, [5, 6] * 4, [7] * 8]
)  # fmt: skip


def rows_of(pixels, interlaced):
    """The rows of a gray PNG, each after the number of its filter, 0."""
    passes = [pixels]
    if interlaced:
        height, width = pixels.shape
        number = np.tile(PASSES, (height // 8 + 1, width // 8 + 1))[:height, :width]
        taken = [number == i for i in range(1, 8)]
        passes = [pixels[np.ix_(each.any(1), each.any(0))] for each in taken]
    return b''.join(b'\0' + row.tobytes() for part in passes for row in part if row.size)


@pytest.mark.parametrize('step', [1 << 30, 7])
@pytest.mark.parametrize('interlaced', [0, 1])
@pytest.mark.parametrize('height, width', [(1, 1), (3, 2), (2, 5), (8, 8), (13, 21)])
def test_a_png_whose_last_rows_are_missing(tmp_path, height, width, interlaced, step):
    path = tmp_path / 'a.png'
    pixels = np.random.default_rng(0).integers(1, 256, (height, width), np.uint8)
    rows = rows_of(pixels, interlaced)
    path.write_bytes(png(rows, height, width, interlaced=interlaced, step=step))
    assert np.array_equal(read_image(path), np.dstack([pixels] * 3))
    for missing in (1, width // 2 + 1, len(rows) // 2 + 1):
        part = rows[: len(rows) - missing]
        path.write_bytes(png(part, height, width, interlaced=interlaced, step=step))
        found = rf'a\.png" is truncated: .*\({len(part)} of {len(rows)} bytes'
        with pytest.raises(DatasetError, match=found):
            read_image(path)


@pytest.mark.parametrize(
    'depth, color, size',
    # 21 pixels, in bytes: rounded up to whole ones, and one for the filter
    [(1, 0, 4), (2, 0, 7), (4, 0, 12), (16, 0, 43), (8, 2, 64), (16, 2, 127), (8, 4, 43),
     (16, 4, 85), (8, 6, 85), (16, 6, 169)],
)  # fmt: skip
def test_rows_of_every_kind_of_png(tmp_path, depth, color, size):
    path = tmp_path / 'a.png'
    path.write_bytes(png(bytes(size * 5), 5, 21, depth, color))
    assert not read_image(path).any()
    path.write_bytes(png(bytes(size * 4), 5, 21, depth, color))
    with pytest.raises(DatasetError, match=rf'\({size * 4} of {size * 5} bytes'):
        read_image(path)


def test_a_png_with_more_than_its_rows(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(png(bytes(100) + b'\7' * 100, 10, 9))
    assert not read_image(path).any()
