"""A file of a folder that cannot be read is named, also by a worker process."""

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS
from mmpretrain.datasets import CustomDataset
from torch.utils.data import DataLoader

from mmrazor_byot.config_errors import config_errors
from mmrazor_byot.errors import DatasetError

assert CustomDataset  # registered


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize(
    'content, reason',
    [(b'', 'empty, damaged'), (b'\x89PNG no', 'empty, damaged'), (None, 'No such file')],
)
def test_broken_file(tmp_path, workers, content, reason):
    (tmp_path / 'a').mkdir()
    for name in ('good', 'broken'):
        cv2.imwrite(str(tmp_path / f'a/{name}.png'), np.zeros((4, 4, 3), np.uint8))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    dataset = DATASETS.build(
        dict(type='mmpretrain.CustomDataset', data_prefix=str(tmp_path), pipeline=pipeline)
    )
    path = tmp_path / 'a/broken.png'
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DatasetError) as caught, config_errors():
        list(DataLoader(dataset, num_workers=workers))
    line = str(caught.value)
    assert line.startswith(f'image "{path}" cannot be read: ') and reason in line
