"""Images from anywhere, as the data set would give them."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.datasets import CustomDataset
from PIL import Image

from mmrazor_byot.apis.image_pipeline import COLORS, ImagePipeline, data_transforms
from mmrazor_byot.apis.pictures import picture_files
from mmrazor_byot.datasets import InMemoryDataset
from mmrazor_byot.errors import ConfigError, DatasetError

PACK = dict(type='PackInputs')
OPEN = dict(type='LoadImageFromFile')


class Colors(InMemoryDataset):
    """Four images of random colors, RGB."""

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
    dataset = Colors(pipeline=[PACK])
    pipeline = ImagePipeline([PACK], (3, 32, 32))
    for i in range(4):
        rgb = dataset.images[i]
        expected = dataset[i]['inputs']
        assert torch.equal(expected, torch.tensor(rgb).permute(2, 0, 1))
        path = save(tmp_path / f'{i}.png', rgb)
        assert torch.equal(pipeline(path)['inputs'], expected)
        assert torch.equal(pipeline(rgb)['inputs'], expected)


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
    assert torch.equal(pipeline(cv2.imread(path)[..., ::-1])['inputs'], expected)
    # BGR: the first channel is the photograph's constant blue.
    assert expected[0].unique().tolist() == [40]


@pytest.mark.parametrize('to_float32', [False, True])
@pytest.mark.parametrize('color', COLORS)
def test_the_settings_of_its_loader_are_kept(tmp_path, color, to_float32):
    (tmp_path / 'cat').mkdir()
    path, exif = tmp_path / 'cat' / 'a.jpg', Image.Exif()
    exif[0x112] = 6
    Image.fromarray(photo(60, 40)).save(path, exif=exif, quality=95)
    transforms = [dict(OPEN, to_float32=to_float32, color_type=color, imdecode_backend='cv2'),
                  dict(type='CenterCrop', crop_size=32), PACK]  # fmt: skip
    expected = CustomDataset(str(tmp_path), pipeline=transforms)[0]
    transforms[0]['backend_args'] = dict(backend='petrel')  # other storage does not matter
    channels = 1 if color.startswith('grayscale') else 3
    pipeline = ImagePipeline(transforms, (channels, 32, 32))
    found = pipeline(str(path))
    assert found['inputs'].dtype == (torch.float32 if to_float32 else torch.uint8)
    assert found['inputs'].shape == expected['inputs'].shape == (channels, 32, 32)
    upright = not color.endswith('orientation')
    size = (40, 60) if upright else (60, 40)
    assert found['data_samples'].ori_shape == expected['data_samples'].ori_shape == size
    # Of a gray JPEG OpenCV takes the brightness that is stored.
    assert (found['inputs'].float() - expected['inputs'].float()).abs().max() <= 2
    if upright:
        again = pipeline(cv2.imread(str(path))[..., ::-1])['inputs'].float()
        assert (again - found['inputs'].float()).abs().max() <= 2


def test_recipes_that_are_refused():
    for settings in (dict(color_type='unchanged'), dict(imdecode_backend='pillow')):
        ((name, value),) = settings.items()
        with pytest.raises(ConfigError, match=f"{name}='{value}'"):
            ImagePipeline([dict(OPEN, **settings), PACK], (3, 32, 32))
    other_size = ImagePipeline([OPEN, dict(type='Resize', scale=(64, 48)), PACK], (3, 32, 32))
    with pytest.raises(ConfigError, match=r'\(90, 70\) to \(3, 48, 64\), .*\(3, 32'):
        other_size(photo(90, 70))
    loader = dict(dataset=dict(pipeline=[PACK]))
    assert data_transforms(Config(dict(val_dataloader=loader))) == [PACK]
    with pytest.raises(ConfigError, match='no test_dataloader.dataset.pipe'):
        data_transforms(Config(dict(model={})))


def test_a_photograph_becomes_small(tmp_path):
    stripes = np.zeros((256, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    pipeline = ImagePipeline([PACK], (3, 32, 32))
    assert not pipeline.resizes
    inputs = pipeline(save(tmp_path / 'stripes.png', stripes))['inputs']
    assert inputs.shape == (3, 32, 32)
    # The mean of what becomes one pixel, not one of the stripes.
    assert (inputs[..., 1:-1].float() - 127.5).abs().max() <= 0.5
    assert (inputs.float() - 127.5).abs().max() <= 4  # at the edge
    samples = pipeline(stripes)['data_samples']
    assert samples.ori_shape == (256, 320) and samples.img_shape == (32, 32)


def test_files_that_are_refused(tmp_path):
    path = tmp_path / 'a.png'
    for transforms in ([PACK], [OPEN, PACK]):
        save(path, photo(32, 33))
        fits = ImagePipeline(transforms, (3, 32, 32), max_pixels=1056)
        assert fits(str(path))['inputs'].shape == (3, 32, 32)
        with pytest.raises(DatasetError, match=r'a\.png" .* 33 x 32 pixels .* 1,055;'):
            ImagePipeline(transforms, (3, 32, 32), max_pixels=1055)(str(path))


def test_names_of_pictures(tmp_path):
    files = [str(tmp_path / name) for name in ('a.JPG', 'b.png', 'c.png/B.tif')]
    sources = [*files, np.zeros((4, 5, 3), np.uint8), str(tmp_path / 'notes.txt'), b'']
    names = [path.name for path in picture_files(sources, tmp_path / 'shown')]
    assert names == ['a.png', 'b.png', 'B_2.png', '3.png', 'notes.png', '5.png']
