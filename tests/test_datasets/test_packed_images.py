"""Encoded images in one file."""

import zipfile

import cv2
import numpy as np
import pytest

from mmrazor_byot.datasets import PackedImages, packed_images
from mmrazor_byot.errors import ConfigError, DatasetError

CLASSES = ['ant', 'bee']


def encode(image, suffix='.png'):
    """Encode (H, W, 3) RGB; cv2 wants BGR."""
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


def random_images(count, size=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    """A file with four training and two test images."""
    path = str(tmp_path / 'set.npz')
    packed_images.pack_images(
        path,
        CLASSES,
        train=([encode(image) for image in random_images(4)], [0, 1, 1, 0]),
        test=([encode(i) for i in random_images(2, seed=1)], [1, 0]),
    )
    return path


def change(path, save=np.savez, **arrays):
    """Write the file again with other arrays; None leaves one out."""
    with np.load(path) as packed:
        arrays = {**packed, **arrays}
    save(path, **{k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize('save', [None, np.savez_compressed])
def test_round_trip(path, save):
    if save:
        change(path, save=save)
    for split, labels, seed in (('train', [0, 1, 1, 0], 0), ('test', [1, 0], 1)):
        dataset = PackedImages(path, split=split)
        assert np.array_equal(dataset.images, random_images(len(labels), seed=seed))
        assert dataset.images.dtype == np.uint8
        assert dataset.get_gt_labels().tolist() == labels
        assert dataset.metainfo['classes'] == ('ant', 'bee')


def test_jpeg_is_read_as_rgb(tmp_path):
    """A red image: JPEG loses little of a constant color."""
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 254
    path = str(tmp_path / 'a.npz')
    files = [encode(red, '.jpg')], [0]
    packed_images.pack_images(path, CLASSES, train=files)
    image = PackedImages(path)[0]['img'].astype(int)
    assert np.abs(image - red).max() <= 3


def test_data_root_and_choice(path, tmp_path):
    dataset = PackedImages('set.npz', data_root=str(tmp_path), samples_per_class=1)
    assert dataset.get_gt_labels().tolist() == [0, 1]


def refused(path, *words, **settings):
    with pytest.raises(DatasetError) as caught:
        PackedImages(str(path), **settings)
    message = str(caught.value)
    assert '\n' not in message
    assert [w for w in [str(path), *words] if w not in message] == []


def test_missing_names_the_whole_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused('data/no.npz', 'does not exist', str(tmp_path / 'data'))


@pytest.mark.parametrize('part', [0, 0.01, 0.6, 0.999])
def test_truncated(path, part):
    with open(path, 'r+b') as f:
        size = int(part * f.seek(0, 2))
        f.truncate(size)
    refused(path, f'({size} bytes) is truncated')


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_damaged(path, save):
    """A part of an array is overwritten."""
    change(path, save=save)
    with zipfile.ZipFile(path) as f:
        start = f.getinfo('train_jpeg.npy').header_offset + 64
    with open(path, 'r+b') as f:
        f.seek(start)
        f.write(b'\xff' * 100)
    refused(path, 'is truncated')


@pytest.mark.parametrize('data', [b'images', b'PK\3\4', b'\x93NUMPY\1\0', np.arange(4)])
def test_another_kind_of_file(tmp_path, data):
    with open(tmp_path / 'a.npz', 'wb') as f:
        np.save(f, data) if isinstance(data, np.ndarray) else f.write(data)
    refused(tmp_path / 'a.npz', 'not a .npz file')


def test_no_such_split(path):
    refused(path, 'has no array val_jpeg', "'train_label'", "split='val'", split='val')


def test_missing_array(path):
    change(path, train_offset=None)
    refused(path, 'has no array train_offset')


@pytest.mark.parametrize(
    'labels, message',
    [
        ([0, 1, 2, 0], 'the label of image 2 is 2'),
        ([0, 1, 0], r'4 images for labels of shape (3,)'),
        ([0.5, 1.5, 0.2, 0.9], 'the labels are float64, the first is 0.5'),
    ],
)
def test_labels_that_do_not_fit(path, labels, message):
    change(path, train_label=np.array(labels))
    refused(path, message)


@pytest.mark.parametrize('damage', [b'', b'no image', slice(0, 20)])
@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_damaged_image(path, damage, suffix):
    whole = encode(random_images(1)[0], suffix)
    broken = whole[damage] if isinstance(damage, slice) else damage
    data = np.frombuffer(whole + broken, np.uint8)
    offsets = np.cumsum([0, len(whole), len(broken)])
    change(path, test_jpeg=data, test_offset=offsets)
    refused(path, 'image 1 of test in', 'cannot be decoded', split='test')


def test_images_of_different_size(path):
    files = [encode(random_images(1, size)[0]) for size in (8, 8, 9, 8)]
    data = np.frombuffer(b''.join(files), np.uint8)
    change(path, train_jpeg=data, train_offset=np.cumsum([0, *map(len, files)]))
    refused(path, 'images of 2 sizes')


GOOD = [encode(image) for image in random_images(3)]


@pytest.mark.parametrize(
    'files, labels, message',
    [
        (GOOD, [0, 1], r'train in ".*a\.npz": 3 images for labels of shape \(2,\)'),
        (GOOD, [0, 1, 0.5], 'the labels are float64, the first is 0.0'),
        (GOOD, [0, 1, 2], 'the label of image 2 is 2, but there are 2 classes'),
        ([*GOOD[:2], b'a line of text'], [0, 1, 1], 'image 2 of train in .* not a JPEG or PNG'),
        ([*GOOD[:2], 'c.png'], [0, 1, 1], 'image 2 of train in .* is a str'),
        ([*GOOD[:2], encode(random_images(1, 9)[0])], [0, 1, 1], 'images of 2 sizes'),
        ([], [], '0 images'),
    ],
)
def test_what_is_not_packed(tmp_path, files, labels, message):
    with pytest.raises(DatasetError, match=message):
        packed_images.pack_images(str(tmp_path / 'a.npz'), CLASSES, train=(files, labels))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('before', [None, b'old'])
def test_failed_packing_leaves_nothing(tmp_path, monkeypatch, before):
    path = tmp_path / 'a.npz'
    if before:
        path.write_bytes(before)

    def fill_disk(file, **arrays):
        file.write(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(np, 'savez', fill_disk)
    files = [encode(random_images(1)[0])], [0]
    with pytest.raises(ConfigError, match='No space left'):
        packed_images.pack_images(str(path), CLASSES, train=files)
    left = [p.read_bytes() for p in tmp_path.iterdir()]
    assert left == ([before] if before else [])


@pytest.mark.parametrize(
    'arrays',
    [
        dict(train_offset=np.array(7)),
        dict(train_offset=np.array([0.0, 1.0])),
        dict(train_offset=np.array([], int)),
        dict(train_offset=np.array([0, 10**6])),
        dict(train_offset=np.array([5, 0])),
        dict(train_jpeg=np.zeros((1, 9), np.uint8)),
        dict(train_jpeg=np.zeros(9)),
        dict(name=np.array('a')),
    ],
)
def test_arrays_of_another_shape_or_type(path, arrays):
    change(path, **arrays)
    with pytest.raises(DatasetError, match='set.npz" is damaged: train_jpeg is .*train_offset'):
        PackedImages(path)
