"""Images from anywhere, as the data set would have handed them over."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.datasets import CustomDataset

from mmrazor_byot.datasets import InMemoryDataset
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.inference.image_inputs import (
    as_bgr,
    image_names,
    list_images,
)
from mmrazor_byot.inference.image_pipeline import (
    ImagePipeline,
    data_transforms,
    read_image,
)

PACK = dict(type='PackInputs')
OPEN = dict(type='LoadImageFromFile')


class Colours(InMemoryDataset):
    """Four images of random colours, RGB."""

    def load_arrays(self):
        images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
        return images, np.arange(4), list('abcd')


def save(path, rgb):
    assert cv2.imwrite(str(path), rgb[..., ::-1])
    return str(path)


def photo(height, width):
    """Smooth, with three different channels."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, x * 0 + 40.0], -1).astype(np.uint8)


def test_same_input_as_a_data_set_in_memory(tmp_path):
    dataset = Colours(pipeline=[PACK])
    pipeline = ImagePipeline([PACK], (3, 32, 32))
    for i in range(4):
        rgb = dataset.images[i]
        expected = dataset[i]['inputs']
        assert torch.equal(expected, torch.tensor(rgb).permute(2, 0, 1))
        path = save(tmp_path / f'{i}.png', rgb)
        assert torch.equal(pipeline(path)['inputs'], expected)
        assert torch.equal(pipeline(rgb[..., ::-1].copy())['inputs'], expected)


def test_same_input_as_a_data_set_of_files(tmp_path):
    (tmp_path / 'cat').mkdir()
    path = save(tmp_path / 'cat/1.png', photo(90, 70))
    transforms = [
        OPEN,
        dict(type='ResizeEdge', scale=40, edge='short'),
        dict(type='CenterCrop', crop_size=32),
        PACK,
    ]
    expected = CustomDataset(str(tmp_path), pipeline=transforms)[0]['inputs']
    pipeline = ImagePipeline(transforms, (3, 32, 32))
    assert pipeline.resizes
    assert torch.equal(pipeline(path)['inputs'], expected)
    assert torch.equal(pipeline(cv2.imread(path))['inputs'], expected)
    # BGR: the first channel is the photograph's constant blue.
    assert expected[0].unique().tolist() == [40]


def test_the_settings_of_its_loader_are_kept(tmp_path):
    path = save(tmp_path / 'a.png', photo(32, 32))
    transforms = [
        dict(OPEN, to_float32=True, color_type='grayscale', backend_args=dict(backend='petrel')),
        PACK,
    ]
    pipeline = ImagePipeline(transforms, (1, 32, 32))
    grey = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    # A PNG decoder rounds grey another way than OpenCV's conversion.
    for image, rounding in ((path, 0), (cv2.imread(path), 1)):
        inputs = pipeline(image)['inputs']
        assert inputs.dtype == torch.float32
        assert np.abs(inputs[0].numpy() - grey).max() <= rounding


def test_a_photograph_becomes_small(tmp_path):
    stripes = np.zeros((256, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    pipeline = ImagePipeline([PACK], (3, 32, 32))
    assert not pipeline.resizes
    inputs = pipeline(save(tmp_path / 'stripes.png', stripes))['inputs']
    assert inputs.shape == (3, 32, 32)
    # The mean of what becomes one pixel, not one of the stripes.
    assert (inputs.float() - 127.5).abs().max() <= 0.5
    samples = pipeline(stripes)['data_samples']
    assert samples.ori_shape == (256, 320) and samples.img_shape == (32, 32)


def test_a_pipeline_of_another_size_is_refused(tmp_path):
    transforms = [OPEN, dict(type='Resize', scale=(64, 48)), PACK]
    pipeline = ImagePipeline(transforms, (3, 32, 32))
    with pytest.raises(
        ConfigError,
        match=r'of \(90, 70\) to \(3, 48, 64\), '
        r'but the network was built for input_size=\(3, 32',
    ):
        pipeline(photo(90, 70))


@pytest.mark.parametrize('kind', ['grey', 'rgba', '16 bit', 'jpg'])
def test_other_kinds_of_files(tmp_path, kind):
    bgr = photo(32, 32)[..., ::-1]
    path = str(tmp_path / ('a.jpg' if kind == 'jpg' else 'a.png'))
    if kind == 'grey':
        written = expected = bgr[..., 1]
        expected = np.stack([expected] * 3, -1)
    elif kind == 'rgba':
        written = np.dstack([bgr, np.full((32, 32), 9, np.uint8)])
        expected = bgr
    elif kind == '16 bit':
        written, expected = bgr.astype(np.uint16) * 256, bgr
    else:
        written, expected = bgr, None
    cv2.imwrite(path, written)
    if expected is None:
        expected = cv2.imread(path)
    inputs = ImagePipeline([OPEN, PACK], (3, 32, 32))(path)['inputs']
    assert np.array_equal(inputs.permute(1, 2, 0).numpy(), expected)
    assert np.array_equal(read_image(path), expected[..., ::-1])


@pytest.mark.parametrize('ending', ['jpg', 'png', 'bmp', 'webp'])
def test_truncated_files(tmp_path, ending):
    path = tmp_path / f'a.{ending}'
    save(path, photo(200, 300))
    ImagePipeline([PACK], (3, 32, 32))(str(path))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(
        DatasetError, match=(rf'a\.{ending}" \(\d+ bytes\) cannot be read: it is truncated')
    ):
        ImagePipeline([PACK], (3, 32, 32))(str(path))


@pytest.mark.filterwarnings('error')
def test_a_jpeg_that_pillow_finds_too_large(tmp_path, monkeypatch):
    path = save(tmp_path / 'a.jpg', photo(32, 32))
    pipeline = ImagePipeline([PACK], (3, 32, 32))
    expected = pipeline(path)['inputs']
    for limit in (32 * 32 * 2 // 3, 32):  # it warns, and raises
        monkeypatch.setattr('PIL.Image.MAX_IMAGE_PIXELS', limit)
        assert torch.equal(pipeline(path)['inputs'], expected)


@pytest.mark.parametrize('data', [b'', b'no image', b'\xff\xd8\xff\xe0'])
def test_what_is_no_image(tmp_path, data):
    path = tmp_path / 'a.jpg'
    path.write_bytes(data)
    for read in (ImagePipeline([OPEN, PACK], (3, 32, 32)), read_image):
        with pytest.raises(DatasetError, match=rf'\({len(data)} bytes\) cann'):
            read(str(path))


def test_a_file_that_vanished(tmp_path):
    with pytest.raises(DatasetError, match='gone.png" does not exist'):
        read_image(str(tmp_path / 'gone.png'))


def test_the_recipe_must_say_how_images_are_shown():
    assert data_transforms(Config(dict(val_dataloader=dict(dataset=dict(pipeline=[PACK]))))) == [
        PACK
    ]
    with pytest.raises(ConfigError, match='no test_dataloader.dataset.pipe'):
        data_transforms(Config(dict(model={})))


def test_a_folder_is_its_images_sorted(tmp_path):
    for name in ('b.png', 'a.JPG', 'notes.txt', '.hidden'):
        (tmp_path / name).touch()
    (tmp_path / 'c.png').mkdir()  # by its name an image
    array = np.zeros((4, 5), np.uint8)
    found = list_images([tmp_path, array, str(tmp_path / 'b.png')])
    assert found[:2] == [str(tmp_path / 'a.JPG'), str(tmp_path / 'b.png')]
    assert found[2].shape == (4, 5, 3) and len(found) == 4
    assert image_names(found) == ['a', 'b', '2', 'b_2']


@pytest.mark.parametrize(
    'inputs, message',
    [
        ('nowhere.png', 'image "nowhere.png" does not exist; check the path'),
        ([], 'no images were given'),
        ([3], 'an image is a path or an array, not a int'),
        (
            [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3))],
            r'image 1 of the list is an array of float64, shape \(4, 4, 3\); give',
        ),
        (np.zeros((2, 4, 4, 3), np.uint8), 'the image is an array of uint8, shap'),
        (np.zeros((3, 32, 32), np.uint8), r'shape \(3, 32, 32\); give uint8 \(H'),
        (np.zeros((0, 4, 3), np.uint8), r'shape \(0, 4, 3\)'),
    ],
)
def test_what_is_no_list_of_images(inputs, message):
    with pytest.raises(DatasetError, match=message):
        list_images(inputs)


def test_an_empty_folder(tmp_path):
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(DatasetError, match='has no images; their names end'):
        list_images(str(tmp_path))


def test_arrays_of_one_and_four_channels():
    bgra = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    assert np.array_equal(as_bgr(bgra, 'x'), bgra[..., :3])
    grey = bgra[..., :1]
    assert np.array_equal(as_bgr(grey, 'x'), np.repeat(grey, 3, -1))
