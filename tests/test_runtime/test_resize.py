"""Images brought to the network's size, beside what mmcv and mmpretrain do to them."""

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmpretrain.registry import TRANSFORMS
from PIL import Image

from mmrazor_byot.apis.image_pipeline import ImagePipeline
from mmrazor_byot.errors import ConfigError, DeployError
from mmrazor_byot.export.preprocessing import resize_steps
from mmrazor_byot.runtime.resize import PILLOW_FILTERS, prepare, resize

LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackInputs')
CROP = dict(type='CenterCrop', crop_size=(31, 24))
WAYS = [('cv2', 'bilinear'), ('cv2', 'nearest'), *(('pillow', name) for name in PILLOW_FILTERS)]


def photo(height, width):
    """A smooth picture, (H, W, 3) uint8 RGB."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def sizes():
    """Height and width before and after: random, doubled, halved, of one pixel, and long."""
    rng = np.random.default_rng(0)
    for largest in (6, 40, 200):
        for _ in range(40):
            yield rng.integers(1, largest + 1, 4)
        for height, width in rng.integers(1, largest + 1, (10, 2)):
            yield 2 * height, 2 * width, height, width
            yield height, width, 2 * height, 2 * width
            yield height, width, height, width
            yield 1, width, height, 2 * width
            yield height, 2 * width, height, 1
            yield 1, 1, height, width
    for a, b in rng.integers(1, 8000, (10, 2)):
        yield 3, a, 2, b


@pytest.mark.parametrize('backend, interpolation', WAYS)
def test_to_the_pixel_as_mmcv(backend, interpolation):
    rng = np.random.default_rng(1)
    for numbers in sizes():
        height, width, *size = (int(n) for n in numbers)
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        found = resize(image, size, interpolation, backend)
        expected = mmcv.imresize(
            image, tuple(size[::-1]), interpolation=interpolation, backend=backend
        )
        message = f'{height} x {width} to {size}'
        np.testing.assert_array_equal(found, expected, message)
        assert found.dtype == np.uint8 and found.flags.writeable


@pytest.mark.parametrize(
    'interpolation, backend',
    [('bicubic', 'cv2'), ('area', 'cv2'), ('area', 'pillow'), ('bilinear', 'skimage'), (2, 'cv2')],
)
def test_interpolations_that_are_refused(interpolation, backend):
    words = rf"interpolation='{interpolation}' of backend='{backend}'"
    with pytest.raises(DeployError, match=words):
        resize(photo(4, 4), (2, 2), interpolation, backend)
    for transform in (dict(type='Resize', scale=8), dict(type='ResizeEdge', scale=8)):
        with pytest.raises(DeployError, match=words):
            steps({**transform, 'interpolation': interpolation, 'backend': backend})


def steps(*pipeline):
    return resize_steps([ConfigDict(transform) for transform in pipeline])


@pytest.mark.parametrize('height, width', [(61, 87), (87, 61), (50, 50), (20, 33), (2, 70)])
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize(
    'transforms',
    [
        *([dict(type='ResizeEdge', scale=45, edge=edge), CROP]
          for edge in ('short', 'long', 'width', 'height')),
        [dict(type='ResizeEdge', scale=256), dict(type='CenterCrop', crop_size=224)],
        [dict(type='ResizeEdge', scale=40, interpolation='nearest')],
        [dict(type='Resize', scale=(33, 22)), dict(type='mmpretrain.CenterCrop', crop_size=21)],
        [dict(type='Resize', scale=32, interpolation='nearest')],
        [dict(type='CenterCrop', crop_size=(99, 17))],
    ],
)  # fmt: skip
def test_as_mmpretrain(transforms, backend, height, width):
    transforms = [t if 'crop_size' in t else dict(t, backend=backend) for t in transforms]
    picture = photo(height, width)
    results = dict(img=picture, img_shape=(height, width))
    for transform in transforms:
        results = TRANSFORMS.build(transform)(results)
    expected = results['img']
    found = prepare(picture, steps(LOAD, *transforms, PACK), expected.shape[:2])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('size', [(20, 25), (40, 20), (31, 320), (90, 70), (32, 33), (512, 384)])
def test_without_steps_as_the_inferencer(tmp_path, size):
    path, picture = tmp_path / 'a.png', photo(*size)
    Image.fromarray(picture).save(path)
    found = prepare(picture, [], (32, 32))
    expected = mmcv.imresize(picture, (32, 32), interpolation='bilinear', backend='pillow')
    np.testing.assert_array_equal(found, expected)
    inputs = ImagePipeline([PACK], (3, 32, 32))(str(path))['inputs']
    assert torch.equal(inputs.permute(1, 2, 0), torch.from_numpy(found))


def test_a_small_image_is_interpolated_and_of_a_large_one_all_pixels_count():
    stripes = np.zeros((256, 320, 3), np.uint8)
    stripes[:, ::2] = 200
    small = prepare(stripes, [], (32, 32))
    assert (small[:, 1:-1] == 100).all()  # at the edge there are fewer pixels on one side
    assert (np.abs(small - 100.0) <= 3).all()
    ramp = np.repeat(np.arange(7, dtype=np.uint8)[None, :, None] * 10, 3, 2).repeat(7, 0)
    assert prepare(ramp, [], (7, 1))[..., 0].tolist() == [[30]] * 7
    # A picture of the right size is left alone, and none is left without pixels.
    assert prepare(stripes, [], (256, 320)) is stripes
    long_edge = steps(dict(type='ResizeEdge', scale=45, edge='long'))
    assert prepare(ramp[:1].repeat(20, 1), long_edge, (1, 45)).shape == (1, 45, 3)
    pair = np.repeat(np.array([[[0], [80]]], np.uint8), 3, 2)
    assert prepare(pair, [], (1, 4))[0, :, 0].tolist() == [0, 20, 60, 80]


def test_steps_of_a_pipeline():
    as_usual = dict(color_type='color', imdecode_backend='cv2', to_float32=False)
    edge = dict(scale=40, edge='long', backend='pillow', interpolation='bicubic')
    assert steps(
        dict(LOAD, **as_usual),
        dict(type='mmpretrain.ResizeEdge', **edge),
        dict(type='CenterCrop', crop_size=32, auto_pad=False),
        dict(type='LoadAnnotations'),
        PACK,
    ) == [dict(step='resize_edge', **edge), dict(step='crop', size=[32, 32])]
    how = dict(interpolation='bilinear', backend='cv2')
    for spelled_out in ({}, dict(how, keep_ratio=False, scale_factor=None)):
        assert steps(dict(type='Resize', scale=(60, 30), **spelled_out)) == [
            dict(step='resize', size=[30, 60], **how)
        ]
    for spelled_out in ({}, dict(how, edge='short')):
        assert steps(dict(type='ResizeEdge', scale=9, **spelled_out)) == [
            dict(step='resize_edge', scale=9, edge='short', **how)
        ]


@pytest.mark.parametrize(
    'transform, named',
    [
        (dict(type='Pad', size=(40, 40)), 'Pad'),
        (dict(type='Resize', scale=(40, 40), keep_ratio=True), 'Resize'),
        (dict(type='Resize', scale_factor=2.0), 'Resize'),
        (dict(type='CenterCrop', crop_size=32, auto_pad=True), 'CenterCrop'),
        (dict(LOAD, color_type='grayscale'), "color_type='grayscale'"),
        (dict(LOAD, imdecode_backend='pillow'), "imdecode_backend='pillow'"),
        (dict(LOAD, to_float32=True), 'to_float32=True'),
    ],
)
def test_transforms_that_the_runtime_cannot_do(transform, named):
    with pytest.raises(ConfigError, match=named):
        steps(LOAD, transform, PACK)
