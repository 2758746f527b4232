"""Reading of image files by Pillow, for the runtime, the inferencer and folders of images.

Pillow refuses truncated files and knows the size of an image before it decodes it. The pixels are
those of OpenCV, with which mmcv reads training images; tests compare the two.
"""

import contextlib
import os
import threading
import warnings

import numpy as np

from mmrazor_byot.errors import DatasetError, DeployError
from mmrazor_byot.files import PathLike

from .png import check_png_rows

try:
    from PIL import Image
except ImportError as e:
    raise DeployError(f'reading images needs Pillow ({e}): pip install pillow') from e

#: Default limit on the number of pixels of an image.
MAX_PIXELS = 100_000_000
#: Formats that are read. Left out are those for which Pillow starts other programs.
FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')


def read_image(path: PathLike, max_pixels: int = MAX_PIXELS, upright: bool = True) -> np.ndarray:
    """Read an image file.

    Of an animation the first frame is read, of 16 bits the upper 8; transparency is dropped.

    Args:
        path (str | Path): The file.
        max_pixels (int): Larger images are refused. Defaults to 100 million.
        upright (bool): Apply the orientation in the EXIF data. Defaults to True.

    Returns:
        np.ndarray: (H, W, 3) uint8 RGB.

    Raises:
        DatasetError: The file is missing, truncated, too large, not an image, or its pixels have no
            8-bit equivalent.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        what = 'is not a file' if os.path.exists(path) else 'does not exist'
        raise DatasetError(f'image "{path}" {what}; check the path')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # a file is either read or an error
            return _read(path, max_pixels, upright)
    except DatasetError:
        raise
    except Image.UnidentifiedImageError as e:
        raise DatasetError(
            f'"{path}" ({os.path.getsize(path)} bytes) is not an image, is truncated, or is not of '
            f'a known format ({", ".join(FORMATS)} with 8 or 16 bits a channel, not floats)'
        ) from e
    except Exception as e:  # broken bytes make Pillow raise errors of many kinds
        reason = ' '.join(str(e).split())[:150]
        raise DatasetError(f'image "{path}" is truncated or damaged: {reason}') from e


def _read(path: str, max_pixels: int, upright: bool) -> np.ndarray:
    with _open(path) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise DatasetError(
                f'image "{path}" is too large: {width} x {height} pixels are more than the limit '
                f'of {max_pixels:,}; raise it with --max-pixels (in Python max_pixels)'
            )
        if image.format == 'PNG':
            check_png_rows(path)
        pixels = _to_rgb(image, path)
        # After decoding, as the EXIF data of a PNG may come after its pixels.
        return _apply_orientation(pixels, image.info.get('exif', b'') if upright else b'')


def _open(path: str) -> Image.Image:
    """Open an image without Pillow's own limit, which ``max_pixels`` replaces."""
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


#: Pillow's limit is global: without a lock, one thread would restore it for another.
_OPENING = threading.Lock()


def _to_rgb(image: Image.Image, path: str) -> np.ndarray:
    mode = image.mode
    if mode == 'F':
        raise DatasetError(f'image "{path}" has float pixels; save it with 8 or 16 bits a channel')
    # Before Pillow 10 a 16-bit PNG is opened with 32 bits.
    if mode.startswith('I;16') or (mode == 'I' and image.format in ('PNG', 'PPM')):
        return np.dstack([(np.asarray(image) >> 8).astype(np.uint8)] * 3)
    if mode in ('I', 'LAB', 'HSV'):
        raise DatasetError(
            f'image "{path}" has pixels of Pillow\'s mode {mode}; save it as RGB or gray with 8 or '
            '16 bits a channel'
        )
    return np.asarray(image.convert('RGB'))


def _apply_orientation(pixels: np.ndarray, exif: bytes) -> np.ndarray:
    """A copy in the orientation that the EXIF data name; missing or damaged data are ignored."""
    fields, orientation = Image.Exif(), None
    with contextlib.suppress(Exception):  # the parser's errors have no common base
        fields.load(exif)
        orientation = fields.get(0x112)
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::down, ::across].copy()
