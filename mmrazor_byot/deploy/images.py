"""Image files to what a deployed network takes: NumPy, and Pillow or OpenCV.

The steps are those of a recipe's test pipeline, as the manifest holds them:
``dict(step='resize_edge', scale=256, edge='short')``,
``dict(step='resize', size=[H, W])`` and ``dict(step='crop', size=[H, W])``.
The resizing ones also have ``interpolation`` and ``backend`` (``'cv2'`` or
``'pillow'``), the library that the recipe resizes with.
"""

import importlib
from pathlib import Path
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np

from mmrazor_byot.errors import DatasetError, DeployError

#: Interpolations by their names in mmcv: OpenCV's and Pillow's.
CV2_NAMES = dict(
    nearest='INTER_NEAREST',
    bilinear='INTER_LINEAR',
    bicubic='INTER_CUBIC',
    area='INTER_AREA',
    lanczos='INTER_LANCZOS4',
)
PILLOW_NAMES = dict(
    nearest='NEAREST',
    bilinear='BILINEAR',
    bicubic='BICUBIC',
    area='BOX',
    box='BOX',
    lanczos='LANCZOS',
    hamming='HAMMING',
)


def load_images(
    paths: Sequence[Union[str, Path]], steps: Sequence[dict], size: Tuple[int, int]
) -> np.ndarray:
    """Read image files.

    Args:
        paths (Sequence[str | Path]): The files.
        steps (Sequence[dict]): What is done to each.
        size (tuple[int, int]): Height and width that they must have at the
            end; who has not is resized, as :class:`ByotInferencer` does it.

    Returns:
        np.ndarray: (N, H, W, 3) uint8 RGB.

    Raises:
        DatasetError: A file is missing or no image.
        DeployError: Neither Pillow nor OpenCV is installed.
    """
    images = []
    for path in paths:
        image = read_image(path)
        for step in steps:
            image = apply_step(image, step)
        images.append(_fit(image, size))
    return np.stack(images)


def _fit(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Bring an image to a size, whatever its proportions."""
    height, width = image.shape[:2]
    if (height, width) == tuple(size):
        return image
    # Small ones are interpolated; of a photograph all pixels count.
    larger = height >= size[0] and width >= size[1]
    return resize(image, size, 'area' if larger else 'bilinear')


def read_image(path: Union[str, Path]) -> np.ndarray:
    """Read an image file, as (H, W, 3) uint8 RGB.

    Raises:
        DatasetError: It is missing or no image.
        DeployError: Neither Pillow nor OpenCV is installed.
    """
    if not Path(path).is_file():
        raise DatasetError(f'image "{path}" does not exist; check the path')
    cv2 = _module('cv2')
    if cv2 is not None:
        image = (
            cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            if Path(path).stat().st_size
            else None
        )
        if image is not None:
            return np.ascontiguousarray(image[..., ::-1])
    pillow = _module('PIL.Image')
    if pillow is not None:
        try:
            with pillow.open(path) as image:
                return np.asarray(image.convert('RGB'))
        except (OSError, SyntaxError, ValueError) as e:
            raise DatasetError(f'"{path}" is no image: {e}') from e
    if cv2 is None:
        raise DeployError(
            'image files are opened by OpenCV or Pillow, and '
            'neither is installed: pip install pillow'
        )
    raise DatasetError(f'"{path}" is no image that OpenCV can read')


def apply_step(image: np.ndarray, step: dict) -> np.ndarray:
    """Do one of the steps of the test pipeline.

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        step (dict): See the top of this file.

    Returns:
        np.ndarray: (H', W', 3) uint8.

    Raises:
        DeployError: There is no such step.
    """
    height, width = image.shape[:2]
    kind = step.get('step')
    if kind == 'crop':
        return _crop(image, step['size'])
    if kind == 'resize':
        size = step['size']
    elif kind == 'resize_edge':
        size = _edge_size(height, width, step['scale'], step['edge'])
    else:
        raise DeployError(
            f'the manifest wants {step}, which this mmrazor_byot does not know; update it'
        )
    return resize(image, size, step['interpolation'], step['backend'])


def resize(
    image: np.ndarray, size: Sequence[int], interpolation: str = 'bilinear', backend: str = 'cv2'
) -> np.ndarray:
    """Resize an image.

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        size (Sequence[int]): The new height and width.
        interpolation (str): ``'bilinear'`` and so on, as in mmcv.
        backend (str): What to resize with, ``'cv2'`` or ``'pillow'``; where
            it is not installed the other does. When it makes an image
            smaller, Pillow smooths and OpenCV does not.

    Raises:
        DeployError: Neither is installed.
    """
    height, width = (max(1, int(n)) for n in size)
    cv2, pillow = _module('cv2'), _module('PIL.Image')
    if pillow is not None and (backend == 'pillow' or cv2 is None):
        name = PILLOW_NAMES[interpolation]
        code = getattr(getattr(pillow, 'Resampling', pillow), name)
        return np.asarray(pillow.fromarray(image).resize((width, height), code))
    if cv2 is None:
        raise DeployError(
            'images are resized by OpenCV or Pillow, and neither is installed: pip install pillow'
        )
    code = getattr(cv2, CV2_NAMES.get(interpolation, 'INTER_LINEAR'))
    return cv2.resize(image, (width, height), interpolation=code)


def _edge_size(height: int, width: int, scale: int, edge: str) -> Tuple[int, int]:
    """Height and width when one edge is scaled, as ResizeEdge rounds."""
    by_width = (
        edge == 'width'
        or (edge == 'short' and width < height)
        or (edge == 'long' and width > height)
    )
    if by_width:
        return int(scale * height / width), scale
    return scale, int(scale * width / height)


def _crop(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The middle of an image, or of what there is, as CenterCrop rounds."""
    height, width = (min(a, b) for a, b in zip(size, image.shape))
    top = max(0, round((image.shape[0] - height) / 2))
    left = max(0, round((image.shape[1] - width) / 2))
    return image[top : top + height, left : left + width]


def _module(name: str) -> Optional[Any]:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
