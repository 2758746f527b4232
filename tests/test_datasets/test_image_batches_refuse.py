"""What batched data cannot be made of, and what they say then."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.datasets import BaseDataset

from mmrazor_byot.datasets import Digits, ImageBatches
from mmrazor_byot.errors import ConfigError, DatasetError

PACK = [dict(type='PackInputs')]
SEVEN = dict(type='mmrazor_byot.Digits', indices=7)


class Listed(BaseDataset):
    """A data set of these images, as mmpretrain's that are in memory."""

    METAINFO = dict(classes=('ant', 'bee'))

    def __init__(self, samples, **kwargs):
        self.samples = samples
        super().__init__(ann_file='', serialize_data=bool(samples), **kwargs)

    def load_data_list(self):
        return self.samples


def listed(*images, label=1, **kwargs):
    return Listed([dict(img=i, gt_label=label) for i in images], **kwargs)


GRAY = np.zeros((4, 4, 1), np.uint8)
COLOR = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    'dataset, message',
    [
        (
            listed(COLOR, np.zeros((4, 5, 3), np.uint8)),
            r'image 1 of Listed is \(4, 5\), image 0 \(4, 4\): .*images of one size',
        ),
        (
            listed(COLOR, COLOR.astype(np.float32)),
            r'image 1 of Listed is float32 of shape \(4, 4, 3\); .*takes uint8',
        ),
        (listed(GRAY), r'image 0 of Listed is uint8 of shape \(4, 4, 1\)'),
        (listed(COLOR, label=[1, 0]), r'image 0 of Listed has the label \[1, 0'),
        (listed(COLOR, label=1.5), 'image 0 of Listed has the label 1.5; it must be one integer'),
        (Listed([dict(img=COLOR)]), 'image 0 of Listed has the label None'),
        (
            Listed([dict(img_path='a.jpg', gt_label=0)]),
            r"image 0 of Listed is not in memory: .*not \['gt_label', 'img_path'",
        ),
        (Listed([]), 'Listed has no images'),
    ],
    ids=range(8),
)
def test_images_that_make_no_tensor(dataset, message):
    with pytest.raises(DatasetError, match=message):
        ImageBatches(dataset)


@pytest.mark.parametrize(
    'make, message',
    [
        (
            lambda: ImageBatches({**SEVEN, 'pipeline': PACK}),
            r"around Digits with the pipeline \['PackInputs'\]: a pipeline works on "
            'single images, .* transforms of data_preprocessor',
        ),
        (lambda: ImageBatches(Digits(pipeline=PACK)), 'with the pipeline'),
        (lambda: ImageBatches(Digits(), num_classes=2), r"got \['num_classes'\]"),
        (lambda: ImageBatches(SEVEN, device='gpu'), "device='gpu'"),
        (lambda: ImageBatches(SEVEN, device='meta'), "device='meta'"),
    ],
)
def test_settings_that_cannot_be(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.skipif(torch.cuda.is_available(), reason='has a GPU')
def test_devices_without_a_gpu():
    assert ImageBatches(SEVEN, device='auto').images.device.type == 'cpu'
    assert ImageBatches(SEVEN, device='cpu').images.is_shared()
    with pytest.raises(ConfigError, match='there is no GPU; "auto"'):
        ImageBatches(SEVEN, device='cuda')


def test_loaders_that_cannot_read_from_the_gpu():
    dataset = ImageBatches(SEVEN)
    dataset.check_loader(SimpleNamespace(num_workers=2, pin_memory=True))
    dataset.images = SimpleNamespace(is_cuda=True, device='cuda:0')
    dataset.check_loader(SimpleNamespace(num_workers=0, pin_memory=False))
    for loader, message in (
        (dict(num_workers=2, pin_memory=False), 'cuda:0: set num_workers=0'),
        (dict(num_workers=0, pin_memory=True), 'set pin_memory=False'),
    ):
        with pytest.raises(ConfigError, match=message):
            dataset.check_loader(SimpleNamespace(**loader))
    loader = torch.utils.data.DataLoader(dataset, 2, num_workers=1)
    with pytest.raises(ConfigError, match='set num_workers=0'):
        next(iter(loader))
