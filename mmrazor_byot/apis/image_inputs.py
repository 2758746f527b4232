"""The images that a user means: paths, folders, arrays."""

import os
from typing import Any, List, Union

import cv2
import numpy as np

from mmrazor_byot import files
from mmrazor_byot.errors import DatasetError

#: A path, or an array (H, W, 3) uint8 BGR.
Image = Union[str, np.ndarray]


def list_images(inputs: Any) -> List[Image]:
    """List the images, before any work is done on them.

    Args:
        inputs: A path, a folder (see :func:`mmrazor_byot.files.list_images`), an array as in
            :func:`as_bgr`, or a list of these.

    Returns:
        list: Paths of files that exist, and arrays (H, W, 3).

    Raises:
        DatasetError: One is missing, or is not an image; a folder has none.
    """
    is_list = isinstance(inputs, (list, tuple))
    images = []
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
    """BGR (H, W, 3), BGRA (H, W, 4), whose transparency is dropped, or grey (H, W) or (H, W, 1).

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
