"""Inputs of the inferencer: paths, folders and arrays."""

import os
from typing import Any, List, Union

import cv2
import numpy as np

from mmrazor_byot import files
from mmrazor_byot.errors import DatasetError

#: A path, or an array (H, W, 3) uint8 BGR.
Image = Union[str, np.ndarray]


def list_images(inputs: Any) -> List[Image]:
    """List and check the images of an input without reading their files.

    The input is a file, a folder, an array as in :func:`as_bgr`, or a list of these; the images are
    paths of existing files, and arrays (H, W, 3) uint8 BGR.

    Raises:
        DatasetError: An input is missing, is not an image, or is a folder without images.
    """
    is_list = isinstance(inputs, (list, tuple))
    images: List[Image] = []
    for number, item in enumerate(inputs if is_list else [inputs]):
        if isinstance(item, np.ndarray):
            images.append(as_bgr(item, f'image {number} of the list' if is_list else 'the image'))
        elif isinstance(item, (str, os.PathLike)):
            images += files.list_images([item])
        else:
            raise DatasetError(f'an image is a path or an array, not a {type(item).__name__}')
    if not images:
        raise DatasetError('no images were given')
    return images


def as_bgr(image: np.ndarray, name: str) -> np.ndarray:
    """Convert uint8 BGR (H, W, 3), BGRA (H, W, 4), or grayscale (H, W) or (H, W, 1) to BGR.

    Raises:
        DatasetError: The array, called ``name`` in the message, has another type or shape.
    """
    channels = 1 if image.ndim == 2 else image.shape[2] if image.ndim == 3 else 0
    if image.dtype != np.uint8 or channels not in (1, 3, 4) or not image.size:
        raise DatasetError(
            f'{name} is an array of {image.dtype}, shape {image.shape}; give uint8 (H, W, 3) in '
            'the order of cv2.imread: blue, green, red'
        )
    if channels == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image[..., :3])
