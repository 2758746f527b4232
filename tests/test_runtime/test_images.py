"""Image files of all kinds, beside what OpenCV makes of them, and those that are refused."""

import contextlib
import io
import struct
import threading
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmrazor_byot.errors import DatasetError
from mmrazor_byot.runtime.images import read_image

HEIGHT, WIDTH = 23, 37
#: Since then it reads animations and the EXIF data of all formats.
OPENCV_5 = int(cv2.__version__.split('.')[0]) >= 5
#: By the EXIF orientation, what brings stored pixels upright.
TURNS = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: np.rot90(np.fliplr(x), 1),
    6: lambda x: np.rot90(x, 3),
    7: lambda x: np.rot90(np.fliplr(x), 3),
    8: lambda x: np.rot90(x, 1),
}


def photo(height=HEIGHT, width=WIDTH):
    """A smooth picture, (H, W, 3) uint8 RGB."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def wide(channels):
    """Noise of 16 bits."""
    return np.random.default_rng(1).integers(0, 1 << 16, (HEIGHT, WIDTH, channels), np.uint16)


PHOTO = Image.fromarray(photo())
ALPHA = Image.fromarray(np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8))
GRAY_ALPHA = Image.merge('LA', (PHOTO.convert('L'), ALPHA))
RGBA = Image.merge('RGBA', (*PHOTO.split(), ALPHA))
PALETTE = PHOTO.quantize(16)
SEE_THROUGH = dict(transparency=bytes(range(0, 160, 10)))
LOSSLESS = dict(lossless=True)


def as_opencv(path, flags=cv2.IMREAD_COLOR):
    return cv2.imread(str(path), flags)[..., ::-1]


def distance(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
    return np.abs(a.astype(int) - b.astype(int)).max()


def encoded(image, ending, **settings):
    """The bytes of a file."""
    file = io.BytesIO()
    image.save(file, {'jpg': 'JPEG', 'tif': 'TIFF'}.get(ending, ending.upper()), **settings)
    return file.getvalue()


def exif(orientation):
    data = Image.Exif()
    data[0x112] = orientation
    return data


@pytest.mark.parametrize(
    'image, ending, settings',
    [
        (PHOTO, 'png', {}),
        (PHOTO, 'jpg', {}),
        (PHOTO, 'bmp', {}),
        (PHOTO, 'ppm', {}),
        (PHOTO, 'webp', {}),
        (PHOTO, 'webp', LOSSLESS),
        (PHOTO, 'tif', {}),
        (PHOTO, 'tif', dict(compression='tiff_lzw')),
        (PHOTO.convert('L'), 'png', {}),
        (PHOTO.convert('L'), 'jpg', {}),
        (PHOTO.convert('L'), 'ppm', {}),
        (PALETTE, 'png', {}),
        (PALETTE, 'png', SEE_THROUGH),
        (PALETTE, 'bmp', {}),
        (RGBA, 'png', {}),
        (RGBA, 'webp', LOSSLESS),
        (GRAY_ALPHA, 'png', {}),
        (PHOTO.convert('1'), 'png', {}),
        (PHOTO.convert('CMYK'), 'jpg', dict(quality=95)),
    ],
)
def test_pixels_are_those_of_opencv(tmp_path, image, ending, settings):
    path = tmp_path / f'a.{ending}'
    path.write_bytes(encoded(image, ending, **settings))
    found = read_image(path)
    assert found.shape == (HEIGHT, WIDTH, 3) and found.flags.writeable
    assert distance(found, as_opencv(path)) <= (2 if ending == 'jpg' else 0)


@pytest.mark.parametrize(
    'ending, channels', [('png', 1), ('png', 3), ('png', 4), ('tif', 1), ('pgm', 1)]
)
def test_of_16_bits_the_upper_8(tmp_path, ending, channels):
    path, pixels = str(tmp_path / f'a.{ending}'), wide(channels)
    assert cv2.imwrite(path, pixels)
    upper = (pixels >> 8).astype(np.uint8)
    rgb = np.repeat(upper, 3, -1) if channels == 1 else upper[..., 2::-1]
    assert distance(read_image(path), rgb) == distance(as_opencv(path), rgb) == 0


@pytest.mark.parametrize('ending', ['gif', 'png', 'webp', 'mpo'])
def test_the_first_frame(tmp_path, ending):
    path = tmp_path / 'a.png'  # its name does not matter
    more = [Image.fromarray(255 - photo()), Image.fromarray(photo()[::-1])]
    settings = dict(webp=LOSSLESS, mpo=dict(quality=98, subsampling=0)).get(ending, {})
    first = PALETTE.convert('RGB')  # few colors, which a GIF keeps
    path.write_bytes(encoded(first, ending, save_all=True, append_images=more, **settings))
    assert distance(read_image(path), np.asarray(first)) <= (16 if ending == 'mpo' else 0)
    if OPENCV_5:
        assert distance(read_image(path), as_opencv(path)) <= (2 if ending == 'mpo' else 0)


@pytest.mark.parametrize('orientation', [*TURNS, 0, 9])
@pytest.mark.parametrize('kind', ['jpg', 'png', 'webp', 'tif', '16 bit png'])
def test_upright_by_exif(tmp_path, kind, orientation):
    ending, settings = kind.split()[-1], LOSSLESS if kind == 'webp' else {}
    image = Image.fromarray(wide(1)[..., 0]) if kind == '16 bit png' else PHOTO
    plain, turned = tmp_path / f'plain.{ending}', tmp_path / f'turned.{ending}'
    plain.write_bytes(encoded(image, ending, **settings))
    turned.write_bytes(encoded(image, ending, exif=exif(orientation), **settings))
    stored = read_image(plain)
    expected = TURNS.get(orientation, TURNS[1])(stored)
    assert distance(read_image(turned), expected) == 0
    if ending == 'tif':  # Pillow and OpenCV turn it come what may, OpenCV not by 90 degrees
        return
    assert distance(read_image(turned, upright=False), stored) == 0
    if OPENCV_5:
        assert distance(expected, as_opencv(turned)) <= (2 if ending == 'jpg' else 0)
        ignored = as_opencv(turned, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert distance(stored, ignored) <= (2 if ending == 'jpg' else 0)


@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp'])
@pytest.mark.parametrize(
    'data',
    [
        b'Exif\0\0',
        b'Exif\0\0garbage',
        exif(6).tobytes()[:-10],
        # A field before it that Pillow cannot write again.
        b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x42\0\x02\0\0\0\x06\0\0\0\x56\0\0\0\0',
    ],
)
def test_broken_exif_data_do_not_break_an_image(tmp_path, ending, data):
    path = tmp_path / f'a.{ending}'
    path.write_bytes(encoded(PHOTO, ending, exif=data, **(LOSSLESS if ending == 'webp' else {})))
    found = read_image(path)
    assert distance(found, as_opencv(path)) <= (2 if ending == 'jpg' else 0)
    assert found.shape == (HEIGHT, WIDTH, 3)


def test_exif_data_after_the_pixels_count_and_xmp_does_not(tmp_path):
    late, xmp = tmp_path / 'late.png', tmp_path / 'xmp.jpg'
    data = encoded(PHOTO, 'png')
    late.write_bytes(data[:-12] + chunk(b'eXIf', exif(6).tobytes()[6:]) + data[-12:])
    assert distance(read_image(late), np.rot90(photo(), 3)) == 0
    xmp.write_bytes(encoded(PHOTO, 'jpg', xmp=b'<rdf:Description tiff:Orientation="6"/>'))
    assert distance(read_image(xmp), as_opencv(xmp)) <= 2


@pytest.mark.parametrize('part', [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize(
    'ending, settings',
    [
        ('jpg', {}),
        ('jpg', dict(progressive=True)),
        ('png', {}),
        ('bmp', {}),
        ('webp', {}),
        ('webp', LOSSLESS),
        ('gif', {}),
        ('ppm', {}),
        ('tif', {}),
        ('tif', dict(compression='tiff_deflate')),
        ('tif', dict(compression='jpeg')),
    ],
)
def test_truncated_files(tmp_path, ending, settings, part):
    path = tmp_path / f'cut.{ending}'
    data = encoded(Image.fromarray(photo(100, 150)), ending, **settings)
    path.write_bytes(data)
    assert read_image(path).shape == (100, 150, 3)
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(DatasetError, match=rf'cut\.{ending}" .*truncated'):
        read_image(path)


@pytest.mark.parametrize('ending', ['jpg', 'png', 'bmp', 'webp', 'gif', 'ppm', 'tif', 'mpo'])
def test_broken_bytes_are_refused_or_no_matter(tmp_path, ending):
    whole = encoded(PHOTO, ending, exif=exif(6))
    for seed in range(50):
        rng, data = np.random.default_rng(seed), bytearray(whole)
        for end in (80, 80, len(data)):  # most of what can break is at the start
            data[rng.integers(0, min(end, len(data)))] = rng.integers(0, 256)
        (tmp_path / 'a').write_bytes(data)
        with contextlib.suppress(DatasetError):
            found = read_image(tmp_path / 'a', max_pixels=100_000)
            assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3


def chunk(kind, data):
    """A part of a PNG file."""
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


@pytest.mark.parametrize(
    'write, reason',
    [
        (lambda path: Image.fromarray(np.zeros((9, 9), np.float32)).save(path), 'float pixels'),
        (lambda path: cv2.imwrite(str(path), np.zeros((9, 9, 3), np.float32)), 'not floats'),
        (lambda path: Image.fromarray(np.zeros((9, 9), np.int32)).save(path), 'mode I;'),
        (lambda path: path.write_bytes(b''), r'\(0 bytes\) is not an image'),
        (lambda path: path.write_bytes(b'\xff\xd8\xff\xe0'), 'truncated'),
        (lambda path: path.write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF'),
         'is not an image'),
        (lambda path: path.mkdir(), 'is not a file'),
        (lambda path: None, 'does not exist'),
        (lambda path: path.symlink_to('gone.tif'), 'does not exist'),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, write, reason):
    write(tmp_path / 'odd.tif')
    with pytest.raises(DatasetError, match=rf'odd\.tif".*{reason}'):
        read_image(str(tmp_path / 'odd.tif'))


def test_a_large_image_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / 'a.png'
    whole = encoded(PHOTO, 'png')
    path.write_bytes(whole[:80])  # the size is there, not the pixels
    size = f'{WIDTH} x {HEIGHT}'
    for limit, reason in ((HEIGHT * WIDTH - 1, f'{size} pixels .* 850;'), (851, 'is truncated')):
        with pytest.raises(DatasetError, match=rf'a\.png" .*{reason}'):
            read_image(path, max_pixels=limit)
    path.write_bytes(whole)
    assert read_image(path, max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
    header = struct.pack('>II', 10_000, 10_001) + whole[24:29]
    path.write_bytes(whole[:8] + chunk(b'IHDR', header) + whole[33:])
    with pytest.raises(DatasetError, match='10000 x 10001 .* 100,000,000'):
        read_image(path)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('limit', [HEIGHT * WIDTH * 2 // 3, 32, None])  # it warns, it raises
def test_pillows_own_limit_is_no_matter_and_stays(tmp_path, monkeypatch, limit):
    paths = [tmp_path / f'a.{ending}' for ending in ('png', 'gif', 'jpg')]
    for path in paths:
        path.write_bytes(encoded(PHOTO, path.suffix[1:]))
    broken = tmp_path / 'broken.png'
    broken.touch()
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)

    def read():
        for path in paths * 5:
            assert read_image(path).shape == (HEIGHT, WIDTH, 3)

    read()
    with pytest.raises(DatasetError):
        read_image(broken)
    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert limit == Image.MAX_IMAGE_PIXELS
