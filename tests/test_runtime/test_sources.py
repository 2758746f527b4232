"""One picture through every door: files, bytes, PIL images and arrays."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.runtime.images import list_sources, read_image

RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
ALPHA = np.full((6, 5, 1), 99, np.uint8)
GRAY = RGB[..., 0]


def encoded(image, kind='PNG', **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


PNG = encoded(Image.fromarray(RGB))


def lazy(data):
    return Image.open(io.BytesIO(data))


def read(inputs, order=None, **settings):
    """The pixels of the only image of an input."""
    (source,) = list_sources(inputs, order)
    return read_image(source, **settings)


@pytest.mark.parametrize(
    'inputs, order',
    [
        (PNG, None),
        (bytearray(PNG), None),
        (memoryview(PNG), None),
        ([PNG], None),
        ((Image.fromarray(RGB),), 'BGR'),  # of arrays alone
        (lazy(PNG), None),
        (Image.fromarray(np.dstack([RGB, ALPHA])), None),
        (RGB, 'RGB'),
        (RGB[..., ::-1], 'BGR'),
        (np.dstack([RGB, ALPHA]), 'RGB'),
        (np.dstack([RGB[..., ::-1], ALPHA]), 'BGR'),
        (cv2.imdecode(np.frombuffer(PNG, np.uint8), cv2.IMREAD_COLOR), 'BGR'),
    ],
)
def test_every_door_gives_the_same_pixels(inputs, order):
    assert np.array_equal(read(inputs, order), RGB)


def test_the_order_is_what_is_said():
    assert np.array_equal(read(RGB, 'BGR'), RGB[..., ::-1])
    assert np.array_equal(read(np.dstack([RGB, ALPHA]), 'BGR'), RGB[..., ::-1])
    for gray in (GRAY, GRAY[..., None], Image.fromarray(GRAY)):
        assert np.array_equal(read(gray), np.dstack([GRAY] * 3))
        assert np.array_equal(read(gray, 'BGR'), np.dstack([GRAY] * 3))


def test_a_mixed_list_keeps_its_order(tmp_path):
    (tmp_path / 'c.png').mkdir()  # by its name an image
    for name in ('b.png', 'a.JPG', 'notes.txt', '.hidden.png', 'c.png/B.tif'):
        (tmp_path / name).touch()
    pil = Image.fromarray(RGB)
    found = list_sources([PNG, tmp_path, GRAY, str(tmp_path / 'notes.txt'), pil])
    paths = [str(tmp_path / name) for name in ('a.JPG', 'b.png', 'c.png/B.tif')]
    assert found[0] == PNG and found[1:4] == paths and found[4].shape == (6, 5, 3)
    assert found[5:] == [str(tmp_path / 'notes.txt'), pil]
    (tmp_path / 'notes').mkdir()
    with pytest.raises(DatasetError, match=r'/notes" has no images'):
        list_sources(str(tmp_path / 'notes'))


def test_a_buffer_that_changes_later():
    buffer = bytearray(PNG)
    (source,) = list_sources(buffer)
    buffer[:] = bytes(len(buffer))
    assert np.array_equal(read_image(source), RGB)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_exif_data_turn_them_once(kind):
    exif = Image.Exif()
    exif[0x112] = 6  # to be turned by 90 degrees, clockwise
    data = encoded(Image.fromarray(RGB), kind, exif=exif)
    stored = np.asarray(lazy(data).convert('RGB'))
    for image in (data, lazy(data)):
        assert np.array_equal(read(image), np.rot90(stored, 3))
    assert np.array_equal(read(lazy(data), upright=False), stored)
    assert np.array_equal(read(ImageOps.exif_transpose(lazy(data))), np.rot90(stored, 3))


def test_modes_of_pil_images():
    wide = np.random.default_rng(1).integers(0, 1 << 16, (6, 5), np.uint16)
    upper = np.dstack([(wide >> 8).astype(np.uint8)] * 3)
    assert np.array_equal(read(Image.fromarray(wide)), upper)
    palette = Image.fromarray(RGB).quantize(8)
    assert np.array_equal(read(palette), np.asarray(palette.convert('RGB')))
    assert palette.mode == 'P'  # what was given stays
    for mode in 'FI':
        with pytest.raises(DatasetError, match='^the image has (float pixels|.* mode I;)'):
            read(Image.new(mode, (4, 4)))


def test_the_current_frame_of_a_pil_image():
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    data = encoded(first, save_all=True, append_images=[second])
    image = lazy(data)
    assert np.array_equal(read(image), RGB) and np.array_equal(read(data), RGB)
    image.seek(1)
    assert np.array_equal(read(image), 255 - RGB)


def test_the_limit_of_pixels():
    for image in (PNG, lazy(PNG), Image.fromarray(RGB)):
        assert read(image, max_pixels=30).shape == (6, 5, 3)
        with pytest.raises(DatasetError, match='^image 7 is too large: 5 x 6 pixels .* 29;'):
            read(image, max_pixels=29, name='image 7')


def closed(load):
    image = lazy(PNG)
    if load:
        image.load()
    image.close()
    return image


def without_its_file():
    file = io.BytesIO(PNG)
    image = Image.open(file)
    file.close()
    return image


def without_last_row():
    """A PNG, whole in all else; Pillow leaves the row black."""
    data = encoded(Image.fromarray(RGB[:5]))
    header = b'IHDR' + struct.pack('>II', 5, 6) + data[24:29]
    return data[:12] + header + struct.pack('>I', zlib.crc32(header)) + data[33:]


@pytest.mark.parametrize(
    'image, reason',
    [
        (b'', r'\(0 bytes\) is not an image'),
        (b'photo.jpg', r'\(9 bytes\) is not an image'),
        (PNG[:60], r'is truncated'),
        (without_last_row(), r'last rows are missing \(80 of 96 bytes'),
        (lazy(without_last_row()), r'last rows are missing \(80 of 96 bytes'),
        (lazy(encoded(Image.fromarray(RGB), 'JPEG')[:-3]), 'truncated'),
        (closed(True), 'is closed.*closed image'),
        (closed(False), 'is closed.*closed image'),
        (without_its_file(), 'is closed'),
        (Image.new('RGB', (0, 4)), 'has no pixels: 0 x 4'),
        (Image.new('La', (4, 4)), 'La'),
    ],
)
def test_images_that_cannot_be_read(image, reason):
    with pytest.raises(DatasetError, match=f'^image 3 .*{reason}') as caught:
        read(image, name='image 3')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'inputs, order, error, reason',
    [
        ('nowhere.png', None, DatasetError, '"nowhere.png" does not exist'),
        ([], None, DatasetError, 'no images'),
        ([3], None, DatasetError, 'image 0 is of type int; give a path'),
        ([[PNG]], None, DatasetError, 'of type list'),
        (torch.zeros(3, 4, 4), None, DatasetError, r'torch.Tensor; .*permute\(1, 2, 0\)'),
        ([GRAY, GRAY / 255], None, DatasetError, r'image 1 .* float64, shape \(6, 5\); give uint8'),
        (RGB[None], 'RGB', DatasetError, r'\(1, 6, 5, 3\); .* as a list'),
        (RGB.transpose(2, 0, 1), 'RGB', DatasetError, r'shape \(3, 6, 5\)'),
        (RGB[:0], 'RGB', DatasetError, r'shape \(0, 5, 3\)'),
        (np.array('x'), None, DatasetError, r'shape \(\)'),
        ([GRAY, RGB], None, ConfigError, "image 1 is a color array: say .*'RGB', or 'BGR'"),
        (np.dstack([RGB, ALPHA]), None, ConfigError, 'image 0 is a color array'),
        (RGB, 'rgb', ConfigError, "channel_order='rgb': give 'RGB' or 'BGR'"),
        (PNG, 3, ConfigError, 'channel_order=3'),
        (PNG, ['RGB'], ConfigError, r"channel_order=\['RGB'\]"),
    ],
)
def test_inputs_that_are_refused(inputs, order, error, reason):
    with pytest.raises(error, match=reason) as caught:
        list_sources(inputs, order)
    assert '\n' not in str(caught.value)
