"""CIFAR-100 of a few images, without a network."""

import hashlib
import pickle

import mmpretrain.datasets
import numpy as np
import pytest

from mmrazor_byot.datasets import CIFAR100


@pytest.fixture
def download(monkeypatch):
    """Says what takes the place of a download; no network is used."""

    def use(function):
        monkeypatch.setattr(mmpretrain.datasets.cifar, 'download_and_extract_archive', function)

    return use


@pytest.fixture
def write_cifar(tmp_path, monkeypatch, download):
    """Writes CIFAR-100 of random images with these labels; returns its folder.

    Of each split, ``planes`` of the fixture has the images, (M, 3072) uint8.
    """
    download(lambda *args, **kwargs: pytest.fail('downloaded'))
    folder = tmp_path / 'cifar-100-python'
    folder.mkdir()
    rng = np.random.default_rng(0)

    def write(**splits):
        for split, labels in splits.items():
            write.planes[split] = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
            content = pickle.dumps({'data': write.planes[split], 'fine_labels': labels})
            (folder / split).write_bytes(content)
            files = [[split, hashlib.md5(content).hexdigest()]]
            for kind in (CIFAR100, mmpretrain.datasets.CIFAR100):
                monkeypatch.setattr(kind, f'{split}_list', files)
        return str(tmp_path)

    write.planes = {}
    return write
