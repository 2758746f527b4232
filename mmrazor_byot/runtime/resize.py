"""Resizing and cropping of images, equal to mmcv and mmpretrain in every pixel."""

from typing import Sequence, Tuple

import numpy as np
from PIL import Image

from mmrazor_byot.errors import DeployError

#: Interpolations of mmcv's ``backend='pillow'``; Pillow calls them by the same names.
PILLOW_FILTERS = ('nearest', 'bilinear', 'bicubic', 'box', 'lanczos', 'hamming')

#: How an image is brought to the input size if the pipeline does not do it: all pixels of a larger
#: one count.
FIT = dict(interpolation='bilinear', backend='pillow')


def prepare(image: np.ndarray, steps: Sequence[dict], size: Sequence[int]) -> np.ndarray:
    """Bring an image to the input size of the network as a test pipeline does.

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        steps (Sequence[dict]): Any of ``dict(step='resize_edge', scale=256, edge='short')``,
            ``dict(step='resize', size=[H, W])`` and ``dict(step='crop', size=[H, W])``; those that
            resize also have ``interpolation`` and ``backend``.
        size (Sequence[int]): Height and width of the result. An image that does not have it after
            the steps is resized, without keeping its aspect ratio.

    Returns:
        np.ndarray: (height, width, 3) uint8.
    """
    for step in steps:
        height, width = image.shape[:2]
        if step['step'] == 'crop':
            image = _crop(image, step['size'])
            continue
        if step['step'] == 'resize':
            target = step['size']
        else:
            target = _edge_size(height, width, step['scale'], step['edge'])
        image = resize(image, target, step['interpolation'], step['backend'])
    return image if image.shape[:2] == tuple(size) else resize(image, size, **FIT)


def resize(
    image: np.ndarray,
    size: Sequence[int],
    interpolation: str = 'bilinear',
    backend: str = 'cv2',
) -> np.ndarray:
    """Resize an image exactly as ``mmcv.imresize`` does.

    Args:
        image (np.ndarray): (H, W, C) uint8.
        size (Sequence[int]): The new height and width.
        interpolation (str): With Pillow one of :data:`PILLOW_FILTERS`, with OpenCV ``'bilinear'``
            or ``'nearest'``. Defaults to ``'bilinear'``.
        backend (str): ``'cv2'`` or ``'pillow'``; Pillow antialiases when it makes an image smaller,
            OpenCV does not. Defaults to ``'cv2'``.

    Raises:
        DeployError: The interpolation or the backend is not supported.
    """
    check_interpolation(interpolation, backend)
    height, width = (max(1, int(n)) for n in size)
    if backend == 'pillow':
        code = getattr(Image.Resampling, interpolation.upper())
        return np.array(Image.fromarray(image).resize((width, height), code))  # writable
    if interpolation == 'nearest':
        rows, columns = (
            np.minimum((np.arange(n) * (1 / (n / m))).astype(int), m - 1)
            for n, m in zip((height, width), image.shape)
        )
        return image[rows][:, columns]
    return _bilinear_as_opencv(image, height, width)


def check_interpolation(interpolation: str, backend: str) -> None:
    """Raise a DeployError for an interpolation that :func:`resize` does not support."""
    known = dict(cv2=('bilinear', 'nearest'), pillow=PILLOW_FILTERS).get(backend, ())
    if interpolation not in known:
        raise DeployError(
            f"interpolation='{interpolation}' of backend='{backend}' is not supported outside "
            f"mmcv, only {' or '.join(known) or 'cv2 or pillow'}; backend='pillow' has the most"
        )


def _bilinear_as_opencv(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """OpenCV's INTER_LINEAR of uint8, which is fixed-point arithmetic of 11 bits."""
    top, bottom, above, below = _neighbours(image.shape[0], height)
    left, right, before, after = _neighbours(image.shape[1], width)
    before[left == right], after[left == right] = 2048, 0  # as OpenCV: of rows, not of columns
    rows, index = np.unique(np.concatenate([top, bottom]), return_inverse=True)
    read = image[rows]
    across = read[:, left] * before[:, None] + read[:, right] * after[:, None]
    across >>= 4
    above, below = above[:, None, None], below[:, None, None]
    down = (above * across[index[:height]] >> 16) + (below * across[index[height:]] >> 16)
    return (down + 2 >> 2).astype(np.uint8)


def _neighbours(old: int, new: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each new pixel along an axis, its two old neighbours and their weights (sum 2048)."""
    position = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int32)
    fraction = position - first
    weight = np.rint(fraction * np.float32(2048)).astype(np.int32)
    rest = np.rint((1 - fraction) * np.float32(2048)).astype(np.int32)
    return first.clip(0, old - 1), (first + 1).clip(0, old - 1), rest, weight


def _edge_size(height: int, width: int, scale: int, edge: str) -> Tuple[int, int]:
    """Height and width with one edge resized to ``scale``, rounded as in mmpretrain."""
    by_width = dict(width=True, height=False, short=width < height, long=width > height)
    if by_width[edge]:
        return int(scale * height / width), scale
    return scale, int(scale * width / height)


def _crop(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The centre of an image, rounded as mmpretrain's CenterCrop does."""
    height, width = (min(a, b) for a, b in zip(size, image.shape))
    top = max(0, round((image.shape[0] - height) / 2))
    left = max(0, round((image.shape[1] - width) / 2))
    return image[top : top + height, left : left + width]
