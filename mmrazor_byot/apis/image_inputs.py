"""The images that a user means: paths, arrays, folders."""

import os
from typing import Any, List, Sequence, Union

import cv2
import numpy as np

from mmrazor_byot import files
from mmrazor_byot.errors import DatasetError

#: A path, or an array (H, W, 3) uint8 BGR.
Image = Union[str, np.ndarray]


def list_images(inputs: Any) -> List[Image]:
    """Spell out the images, before any work is done on them.

    Args:
        inputs: A path, a folder (all images in it and in the folders within, see
            :func:`mmrazor_byot.files.list_images`), an array as in :func:`as_bgr`, or a list of
            these.

    Returns:
        list: Paths of files that exist, and arrays (H, W, 3).

    Raises:
        DatasetError: One is missing, or no image; a folder has none.
    """
    several = isinstance(inputs, (list, tuple))
    images = []
    for number, item in enumerate(inputs if several else [inputs]):
        if isinstance(item, np.ndarray):
            name = f'image {number} of the list' if several else 'the image'
            images.append(as_bgr(item, name))
        elif isinstance(item, (str, os.PathLike)):
            images.extend(files.list_images([item]))
        else:
            raise DatasetError(f'an image is a path or an array, not a {type(item).__name__}')
    if not images:
        raise DatasetError('no images were given')
    return images


def as_bgr(image: np.ndarray, name: str) -> np.ndarray:
    """Bring an array to three channels.

    Args:
        image (np.ndarray): uint8, in the order of cv2.imread: BGR (H, W, 3), BGRA (H, W, 4), or
            grey (H, W) or (H, W, 1).
        name (str): What to call it in a message.

    Returns:
        np.ndarray: (H, W, 3); transparency is dropped.

    Raises:
        DatasetError: It has another type or shape.
    """
    grey = image.ndim == 2 or image.ndim == 3 and image.shape[2] == 1
    colour = image.ndim == 3 and image.shape[2] in (3, 4)
    if image.dtype != np.uint8 or not (grey or colour) or not image.size:
        raise DatasetError(
            f'{name} is an array of {image.dtype}, shape {image.shape}; give uint8 (H, W, 3) in '
            'the order of cv2.imread: blue, green, red'
        )
    if grey:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image[..., :3])


def image_names(images: Sequence[Image]) -> List[str]:
    """A name for each, no two alike: the file's without its ending.

    Args:
        images (Sequence): Of :func:`list_images`. Arrays are named by their number.
    """
    names, taken = [], set()
    for number, image in enumerate(images):
        stem = (
            str(number)
            if isinstance(image, np.ndarray)
            else (os.path.splitext(os.path.basename(image))[0])
        )
        name, copy = stem, 2
        while name.lower() in taken:  # of some file systems, case is lost
            name, copy = f'{stem}_{copy}', copy + 1
        taken.add(name.lower())
        names.append(name)
    return names
