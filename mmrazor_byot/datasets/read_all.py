"""All images of a data set as one tensor."""

from typing import Tuple

import numpy as np
import torch
from mmpretrain.datasets import BaseDataset
from torch import Tensor

from mmrazor_byot.errors import DatasetError


def read_all(dataset: BaseDataset) -> Tuple[Tensor, Tensor]:
    """All images and labels of a data set.

    Args:
        dataset (BaseDataset): Its samples have ``img`` (H, W, 3) uint8 and ``gt_label``.

    Returns:
        tuple: Images (M, 3, H, W) uint8 and labels (M,) int64.

    Raises:
        DatasetError: They have not, or the images are of several sizes.
    """
    name, count = type(dataset).__name__, len(dataset)
    labels = np.empty(count, np.int64)
    images = pixels = None
    for i in range(count):
        info = dataset.get_data_info(i)
        image = _image(info, f'image {i} of {name}')
        if images is None:
            height, width, _ = image.shape
            images = torch.empty((count, 3, height, width), dtype=torch.uint8)
            pixels = images.numpy()
        if image.shape[:2] != (height, width):
            raise DatasetError(
                f'image {i} of {name} is {image.shape[:2]}, image 0 {(height, width)}: '
                'ImageBatches takes images of one size. Resize them before, or use the data set as '
                'it is'
            )
        pixels[i] = image.transpose(2, 0, 1)
        if not np.isscalar(info.get('gt_label')):
            raise DatasetError(
                f'image {i} of {name} has the label {info.get("gt_label")}; it needs one number'
            )
        labels[i] = info['gt_label']
    if images is None:
        raise DatasetError(f'{name} has no images')
    return images, torch.from_numpy(labels)


def _image(info: dict, name: str) -> np.ndarray:
    image = info.get('img')
    if image is None:
        raise DatasetError(
            f'{name} is not in memory: ImageBatches takes data sets whose samples hold decoded '
            f'images as "img", not {sorted(info)}. Pack image files with '
            'mmrazor_byot.datasets.packed_images.pack_images'
        )
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
    ):
        kind = getattr(image, 'dtype', type(image).__name__)
        raise DatasetError(
            f'{name} is {kind} of shape {np.shape(image)}; ImageBatches takes uint8 images of '
            'three colours, (H, W, 3)'
        )
    return image
