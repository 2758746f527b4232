"""Image files on their way in, beside what mmpretrain does to them."""

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict
from mmpretrain.datasets.transforms import CenterCrop, ResizeEdge
from PIL import Image

from mmrazor_byot.deploy import images
from mmrazor_byot.deploy.images import apply_step, load_images, read_image
from mmrazor_byot.deploy.preparation import resize_steps
from mmrazor_byot.errors import ConfigError, DatasetError, DeployError
from mmrazor_byot.inference.image_pipeline import ImagePipeline

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=40, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.CenterCrop', crop_size=32),
    dict(type='PackInputs'),
]


def steps(*pipeline):
    return resize_steps([ConfigDict(step) for step in pipeline])


def photo(height, width, seed=0):
    """A smooth picture, (H, W, 3) uint8 RGB."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('edge', ['short', 'long', 'width', 'height'])
@pytest.mark.parametrize('height, width', [(61, 87), (87, 61), (50, 50)])
def test_steps_do_what_mmpretrain_does(backend, edge, height, width):
    settings = dict(scale=45, edge=edge, backend=backend)
    picture = photo(height, width)
    expected = dict(img=picture)
    for transform in (ResizeEdge(**settings), CenterCrop((24, 31))):
        expected = transform(expected)
    found = picture
    for step in steps(
        dict(type='ResizeEdge', **settings), dict(type='CenterCrop', crop_size=(24, 31))
    ):
        found = apply_step(found, step)
    np.testing.assert_array_equal(found, expected['img'])


def test_the_manifest_of_a_pipeline():
    assert steps(*PIPELINE) == [
        dict(step='resize_edge', scale=40, edge='short', interpolation='bicubic', backend='pillow'),
        dict(step='crop', size=[32, 32]),
    ]
    assert steps(dict(type='Resize', scale=(60, 30))) == [
        dict(step='resize', size=[30, 60], interpolation='bilinear', backend='cv2')
    ]


@pytest.mark.parametrize(
    'transform',
    [
        dict(type='Pad', size=(40, 40)),
        dict(type='Resize', scale=(40, 40), keep_ratio=True),
        dict(type='Resize', scale_factor=2.0),
        dict(type='CenterCrop', crop_size=32, auto_pad=True),
    ],
)
def test_what_the_runtime_cannot_do(transform):
    with pytest.raises(ConfigError, match='runtime without torch cannot do'):
        steps(transform)


def test_a_step_from_the_future():
    with pytest.raises(DeployError, match='rotate.*update it'):
        apply_step(photo(4, 4), dict(step='rotate'))


def test_files_are_read_as_rgb_and_brought_to_size(tmp_path):
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red).save(tmp_path / 'red.png')
    Image.fromarray(np.full((20, 10), 7, np.uint8)).save(tmp_path / 'grey.png')
    found = load_images([tmp_path / 'red.png', tmp_path / 'grey.png'], [], (32, 32))
    np.testing.assert_array_equal(found[0], red)
    assert found.shape == (2, 32, 32, 3) and (found[1] == 7).all()


@pytest.mark.parametrize('height, width', [(20, 25), (90, 70), (40, 20)])
def test_without_steps_as_the_inferencer(tmp_path, height, width):
    path = tmp_path / 'a.png'
    Image.fromarray(photo(height, width)).save(path)
    pipeline = ImagePipeline([dict(type='PackInputs')], (3, 32, 32))
    expected = pipeline(str(path))['inputs'].permute(1, 2, 0).numpy()
    (found,) = load_images([path], [], (32, 32))
    np.testing.assert_array_equal(found, expected)


def without(monkeypatch, *missing):
    there = images._module
    monkeypatch.setattr(images, '_module', lambda name: None if name in missing else there(name))


def test_either_library_will_do(tmp_path, monkeypatch):
    picture = photo(40, 30)
    Image.fromarray(picture).save(tmp_path / 'a.png')
    shrink = dict(step='resize', size=[20, 15], interpolation='bilinear')
    cases = (('cv2', 'PIL.Image'), ('pillow', 'cv2'))
    for backend, missing in cases:
        with monkeypatch.context() as patch:
            other = 'pillow' if backend == 'cv2' else 'cv2'
            expected = apply_step(picture, {**shrink, 'backend': backend})
            without(patch, missing)
            np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), picture)
            np.testing.assert_array_equal(
                apply_step(picture, {**shrink, 'backend': other}), expected
            )


def test_neither_library(tmp_path, monkeypatch):
    Image.fromarray(photo(8, 8)).save(tmp_path / 'a.png')
    without(monkeypatch, 'cv2', 'PIL.Image')
    with pytest.raises(DeployError, match='pip install pillow'):
        read_image(tmp_path / 'a.png')
    with pytest.raises(DeployError, match='pip install pillow'):
        images.resize(photo(8, 8), (4, 4))


@pytest.mark.parametrize('missing', ['cv2', 'PIL.Image'])
@pytest.mark.parametrize('content', [b'', b'no image', b'\x89PNG\r\n\x1a\n'])
def test_broken_files(tmp_path, monkeypatch, missing, content):
    without(monkeypatch, missing)
    (tmp_path / 'a.png').write_bytes(content)
    with pytest.raises(DatasetError, match='a.png" is no image'):
        read_image(tmp_path / 'a.png')
    with pytest.raises(DatasetError, match='does not exist'):
        read_image(tmp_path / 'b.png')
