"""mmpretrain's CIFAR with clear errors."""

import tarfile
from urllib.error import URLError

import numpy as np
import pytest

from mmrazor_byot.datasets import CIFAR10, CIFAR100
from mmrazor_byot.errors import DatasetError

#: As published at https://www.cs.toronto.edu/~kriz/cifar.html
PUBLISHED = {
    CIFAR10: 'c58f30108f718f92721af3b95e74349a',
    CIFAR100: 'eb9058c3a382ffc7106e4002c42a8d85',
}


@pytest.fixture
def tiny(write_cifar):
    """CIFAR-100 of three training images and one test image."""
    return write_cifar(train=[99, 0, 7], test=[5])


@pytest.mark.parametrize('split, labels', [('train', [99, 0, 7]), ('test', [5])])
def test_images_and_labels(write_cifar, tiny, split, labels):
    dataset = CIFAR100(tiny, split=split)
    assert [d['gt_label'] for d in dataset] == labels
    # The red, green and blue plane follow each other, row by row.
    planes = write_cifar.planes[split].reshape(-1, 3, 32, 32)
    for image, sample in zip(planes, dataset):
        assert np.array_equal(sample['img'], np.moveaxis(image, 0, 2))
    assert len(dataset.CLASSES) == 100
    assert dataset.CLASSES[0] == 'apple' and dataset.CLASSES[99] == 'worm'


def test_damaged_file_is_fetched_again(tiny, download):
    """A file that still does not fit after that is reported."""
    fetched = []
    download(lambda url, root, **kwargs: fetched.append((url, root.rstrip('/'), kwargs['md5'])))
    with open(f'{tiny}/cifar-100-python/test', 'ab') as f:
        f.write(b'!')
    with pytest.raises(DatasetError, match='CIFAR100 is not complete in'):
        CIFAR100(tiny)
    url = 'https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz'
    assert fetched == [(url, tiny, PUBLISHED[CIFAR100])]


@pytest.mark.parametrize(
    'dataset, error',
    [
        (CIFAR10, URLError('Name or service not known')),
        (CIFAR100, TimeoutError('timed out')),
        (CIFAR100, RuntimeError('File not found or corrupted.')),
        (CIFAR100, tarfile.ReadError('unexpected end of data')),
        (CIFAR100, EOFError('Compressed file ended')),
    ],
)
def test_download_fails(tmp_path, monkeypatch, download, dataset, error):
    def fail(*args, **kwargs):
        raise error

    download(fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError) as caught:
        dataset('data/cifar')
    folder = tmp_path / 'data' / 'cifar'
    for word in [
        dataset.__name__,
        type(error).__name__,
        str(error),
        f'https://www.cs.toronto.edu/~kriz/{dataset.filename}',
        PUBLISHED[dataset],
        f' {folder} ',
        f'{folder}/{dataset.base_folder}',
    ]:
        assert word in str(caught.value)


def test_download_switched_off(tmp_path):
    with pytest.raises(DatasetError, match='Cannot find CIFAR100 dataset'):
        CIFAR100(str(tmp_path), download=False)


@pytest.mark.parametrize('held_out, chosen', [(False, [0, 1, 2, 4, 7]), (True, [3, 5, 6, 8])])
def test_holding_out(write_cifar, held_out, chosen):
    """Apples 0 3 4 6 7 8, bowls 1 5, one worm."""
    labels = [0, 10, 99, 0, 0, 10, 0, 0, 0]
    root = write_cifar(train=labels, test=[5])
    every, part = CIFAR100(root), CIFAR100(root, hold_out_every=2, held_out=held_out)
    assert [d['gt_label'] for d in part] == [labels[i] for i in chosen]
    for sample, i in zip(part, chosen):
        assert np.array_equal(sample['img'], every[i]['img'])


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(hold_out_every=1), 'hold_out_every=1'),
        (dict(held_out=True), 'hold_out_every=None'),
        (dict(hold_out_every=10, held_out=True), 'no image is left; hold_out_every=10'),
    ],
)
def test_holding_out_that_cannot_be(tiny, settings, message):
    with pytest.raises(DatasetError, match=f'^CIFAR100: {message}'):
        CIFAR100(tiny, **settings)
