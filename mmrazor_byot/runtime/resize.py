"""An image to the network's size, to the pixel as mmcv and mmpretrain bring it there."""

from typing import Sequence, Tuple

import numpy as np
from PIL import Image

from mmrazor_byot.errors import DeployError

#: Interpolations of mmcv's ``backend='pillow'``; Pillow calls them by the same names.
PILLOW_FILTERS = ('nearest', 'bilinear', 'bicubic', 'box', 'lanczos', 'hamming')
#: Height and width.
Size = Tuple[int, int]


def prepare(image: np.ndarray, steps: Sequence[dict], size: Size) -> np.ndarray:
    """Bring an image to the network's size as a test pipeline does.

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        steps (Sequence[dict]): In their order ``dict(step='resize_edge', scale=256,
            edge='short')``, ``dict(step='resize', size=[H, W])`` and ``dict(step='crop', size=[H,
            W])``; those that resize also have ``interpolation`` and ``backend``.
        size (tuple[int, int]): Height and width that it must have after them; if it has not, it is
            resized, whatever its proportions.

    Returns:
        np.ndarray: (height, width, 3) uint8.
    """
    for step in steps:
        height, width = image.shape[:2]
        if step['step'] == 'crop':
            image = _crop(image, step['size'])
            continue
        target = step['size'] if step['step'] == 'resize' else _edge(height, width, **step)
        image = resize(image, target, step['interpolation'], step['backend'])
    if image.shape[:2] == tuple(size):
        return image
    # A small image is interpolated; of a photograph all pixels count.
    if image.shape[0] >= size[0] and image.shape[1] >= size[1]:
        return resize(image, size, 'box', 'pillow')
    return resize(image, size)


def resize(
    image: np.ndarray,
    size: Sequence[int],
    interpolation: str = 'bilinear',
    backend: str = 'cv2',
) -> np.ndarray:
    """Resize an image to the pixel as ``mmcv.imresize`` does.

    Args:
        image (np.ndarray): (H, W, C) uint8.
        size (Sequence[int]): The new height and width.
        interpolation (str): With Pillow one of :data:`PILLOW_FILTERS`, with OpenCV ``'bilinear'``
            or ``'nearest'``. Defaults to ``'bilinear'``.
        backend (str): Whose way it is, ``'cv2'`` or ``'pillow'``: when it makes an image smaller,
            Pillow smooths and OpenCV does not. Defaults to ``'cv2'``.

    Raises:
        DeployError: There is no such interpolation.
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
    """Raise a DeployError for an interpolation that :func:`resize` does not know."""
    known = dict(cv2=('bilinear', 'nearest'), pillow=PILLOW_FILTERS).get(backend, ())
    if interpolation not in known:
        raise DeployError(
            f"images are not resized by interpolation='{interpolation}' of backend='{backend}' "
            f'outside mmcv, only by {" or ".join(known) or "cv2 or pillow"}; '
            "backend='pillow' knows most"
        )


def _bilinear_as_opencv(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """OpenCV's INTER_LINEAR of bytes, which is fixed-point arithmetic of 11 bits."""
    top, bottom, above, below = _neighbours(image.shape[0], height)
    left, right, before, after = _neighbours(image.shape[1], width)
    before[left == right], after[left == right] = 2048, 0  # at the edges of a row, not of a column
    rows, place = np.unique(np.concatenate([top, bottom]), return_inverse=True)
    read = image[rows]
    across = read[:, left] * before[:, None] + read[:, right] * after[:, None]
    across >>= 4
    above, below = above[:, None, None], below[:, None, None]
    down = (above * across[place[:height]] >> 16) + (below * across[place[height:]] >> 16)
    return (down + 2 >> 2).astype(np.uint8)


def _neighbours(old: int, new: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each new pixel of an axis its two old ones, and their weights of 2048."""
    place = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int32)
    fraction = place - first
    weight = np.rint(fraction * np.float32(2048)).astype(np.int32)
    rest = np.rint((1 - fraction) * np.float32(2048)).astype(np.int32)
    return first.clip(0, old - 1), (first + 1).clip(0, old - 1), rest, weight


def _edge(height: int, width: int, scale: int, edge: str, **_) -> Size:
    """Height and width when one edge is scaled, rounded as mmpretrain's ResizeEdge does."""
    by_width = dict(width=True, height=False, short=width < height, long=width > height)
    if by_width[edge]:
        return int(scale * height / width), scale
    return scale, int(scale * width / height)


def _crop(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The middle of an image, rounded as mmpretrain's CenterCrop does."""
    height, width = (min(a, b) for a, b in zip(size, image.shape))
    top = max(0, round((image.shape[0] - height) / 2))
    left = max(0, round((image.shape[1] - width) / 2))
    return image[top : top + height, left : left + width]
