"""mmpretrain's CIFAR with clear errors."""

import hashlib
import pickle
import tarfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from mmpretrain.datasets import cifar as mmpretrain_cifar

from mmrazor_byot.datasets import CIFAR10, CIFAR100
from mmrazor_byot.errors import DatasetError

#: As published at https://www.cs.toronto.edu/~kriz/cifar.html
PUBLISHED = {
    CIFAR10: 'c58f30108f718f92721af3b95e74349a',
    CIFAR100: 'eb9058c3a382ffc7106e4002c42a8d85',
}


@pytest.fixture
def download(monkeypatch):
    """Says what takes the place of a download; no network is used."""

    def use(function):
        name = 'download_and_extract_archive'
        monkeypatch.setattr(mmpretrain_cifar, name, function)

    return use


@pytest.fixture
def tiny(write_cifar):
    """CIFAR-100 of three training images and one test image."""
    return write_cifar(train=[99, 0, 7], test=[5])


@pytest.fixture
def write_cifar(tmp_path, monkeypatch, download):
    """Writes CIFAR-100 of images with these labels."""

    def fail(*args, **kwargs):
        raise AssertionError('nothing is to be downloaded')

    download(fail)
    folder = tmp_path / 'cifar-100-python'
    folder.mkdir()
    rng = np.random.default_rng(0)

    def write(**splits):
        for split, labels in splits.items():
            planes = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
            content = pickle.dumps({'data': planes, 'fine_labels': labels})
            (folder / split).write_bytes(content)
            files = [[split, hashlib.md5(content).hexdigest()]]
            monkeypatch.setattr(CIFAR100, f'{split}_list', files)
        return tmp_path

    return write


@pytest.mark.parametrize('split, labels', [('train', [99, 0, 7]), ('test', [5])])
def first_images(tiny, split, labels):
    dataset = CIFAR100(str(tiny), split=split)
    assert [d['gt_label'] for d in dataset] == labels
    file = tiny / 'cifar-100-python' / split
    planes = pickle.loads(file.read_bytes())['data']
    for image, sample in zip(planes, dataset):
        assert sample['img'].shape == (32, 32, 3)
        # The red, green and blue plane follow each other, row by row.
        for row, column, colour in [(0, 0, 0), (0, 5, 1), (31, 2, 2)]:
            value = image[1024 * colour + 32 * row + column]
            assert sample['img'][row, column, colour] == value
    assert len(dataset.CLASSES) == 100
    assert dataset.CLASSES[0] == 'apple' and dataset.CLASSES[99] == 'worm'


def test_damaged_file_is_fetched_again(tiny, download):
    """A file that still does not fit after that is reported."""
    fetched = []
    download(lambda url, root, **kwargs: fetched.append((url, root, kwargs)))
    with open(tiny / 'cifar-100-python' / 'test', 'ab') as f:
        f.write(b'!')
    with pytest.raises(DatasetError, match='CIFAR100 is not complete in'):
        CIFAR100(str(tiny))
    ((url, root, settings),) = fetched
    assert url == 'https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz'
    assert Path(root) == tiny
    assert settings['md5'] == PUBLISHED[CIFAR100]


@pytest.mark.parametrize('dataset', [CIFAR10, CIFAR100])
@pytest.mark.parametrize(
    'fault',
    [
        URLError('Name or service not known'),
        TimeoutError('timed out'),
        RuntimeError('File not found or corrupted.'),
        tarfile.ReadError('unexpected end of data'),
        EOFError('Compressed file ended'),
    ],
)
def test_download_fails(tmp_path, monkeypatch, download, dataset, fault):
    def fail(*args, **kwargs):
        raise fault

    download(fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError) as caught:
        dataset('data/cifar')
    folder = str(tmp_path / 'data' / 'cifar')
    for word in [
        dataset.__name__,
        type(fault).__name__,
        str(fault),
        f'https://www.cs.toronto.edu/~kriz/{dataset.filename}',
        f'(md5 {PUBLISHED[dataset]})',
        f'is not complete in {folder} and',
        f'so that {folder}/{dataset.base_folder} exists',
    ]:
        assert word in str(caught.value)


def test_download_switched_off(tmp_path, download):
    download(lambda *args, **kwargs: pytest.fail('downloaded'))
    with pytest.raises(DatasetError, match='Cannot find CIFAR100 dataset'):
        CIFAR100(str(tmp_path), download=False)


def test_holding_out(write_cifar):
    """Apples 0 3 4 6 7 8, bowls 1 5, one worm."""
    labels = [0, 10, 99, 0, 0, 10, 0, 0, 0]
    root = str(write_cifar(train=labels, test=[5]))
    every = CIFAR100(root)
    parts = {
        held_out: CIFAR100(root, hold_out_every=2, held_out=held_out) for held_out in (False, True)
    }
    for held_out, chosen in {False: [0, 1, 2, 4, 7], True: [3, 5, 6, 8]}.items():
        dataset = parts[held_out]
        assert [d['gt_label'] for d in dataset] == [labels[i] for i in chosen]
        for sample, i in zip(dataset, chosen):
            assert np.array_equal(sample['img'], every[i]['img'])


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(hold_out_every=1), 'hold_out_every=1; at least 2'),
        (dict(held_out=True), 'hold_out_every=None; at least 2'),
        (
            dict(hold_out_every=10, held_out=True),
            'no image is left; hold_out_every=10 is too much',
        ),
    ],
)
def test_holding_out_that_cannot_be(tiny, settings, message):
    with pytest.raises(DatasetError, match=f'^CIFAR100: {message}'):
        CIFAR100(str(tiny), **settings)
