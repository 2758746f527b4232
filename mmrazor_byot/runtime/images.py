"""Reading of images by Pillow, for the runtime, the inferencer and folders of images.

Pillow refuses truncated files and knows the size of an image before it decodes it. The pixels are
those of OpenCV, with which mmcv reads training images; tests compare the two.
"""

import contextlib
import io
import os
import threading
import warnings
from typing import Any, List, Optional, Union

import numpy as np

from mmrazor_byot import files
from mmrazor_byot.errors import ConfigError, DatasetError, DeployError

from .png import check_png_rows

try:
    from PIL import Image
except ImportError as e:
    raise DeployError(f'reading images needs Pillow ({e}): pip install pillow') from e

#: An image: the path of a file, the bytes of one, a PIL image, or an array (H, W, 3) uint8 RGB.
Source = Union[files.PathLike, bytes, Image.Image, np.ndarray]

#: Default limit on the number of pixels of an image.
MAX_PIXELS = 100_000_000
#: Formats that are read. Left out are those for which Pillow starts other programs.
FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')


def list_sources(inputs: Any, channel_order: Optional[str] = None) -> List[Source]:
    """List the images of an input without reading them; arrays are checked and converted.

    Args:
        inputs (str | Path | bytes | PIL.Image.Image | np.ndarray | list): A file, a folder, the
            bytes of a file, a PIL image, a uint8 array (H, W, 3), (H, W, 4), (H, W) or (H, W, 1),
            or a list of these.
        channel_order (str, optional): The order of color arrays, ``'RGB'`` or ``'BGR'``; a fourth
            channel is alpha, and is dropped.

    Returns:
        list: Images as :func:`read_image` takes them; paths are str.

    Raises:
        DatasetError: An input is missing, is not an image, or is a folder without images.
        ConfigError: The channel order is wrong, or is missing for a color array.
    """
    orders = dict(RGB=slice(None, 3), BGR=slice(2, None, -1))
    if channel_order is not None and str(channel_order) not in orders:
        raise ConfigError(f"channel_order={channel_order!r}: give 'RGB' or 'BGR'")
    images: List[Source] = []
    for item in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
        name = f'image {len(images)}'
        if isinstance(item, (str, os.PathLike)):
            images += files.list_images([item])
        elif isinstance(item, (bytes, bytearray, memoryview)):
            images.append(bytes(item))
        elif isinstance(item, np.ndarray):
            array = _check_array(item, name)
            if array.shape[2] == 1:
                images.append(array.repeat(3, axis=2))
            elif channel_order is None:
                raise ConfigError(
                    f"{name} is a color array: say its order by channel_order='RGB', or 'BGR' if "
                    'it is from cv2.imread'
                )
            else:
                images.append(array[..., orders[channel_order]])
        elif isinstance(item, Image.Image):
            images.append(item)
        else:
            kind = f'{type(item).__module__}.{type(item).__qualname__}'
            hint = ' (x.permute(1, 2, 0).cpu().numpy())' if hasattr(item, 'permute') else ''
            raise DatasetError(
                f'{name} is of type {kind.removeprefix("builtins.")}; give a path, a folder, '
                f'the bytes of a file, a PIL image, or an array (H, W, 3) uint8{hint}'
            )
    if not images:
        raise DatasetError('no images were given')
    return images


def _check_array(image: np.ndarray, name: str) -> np.ndarray:
    """A uint8 array as (H, W, C) with 1, 3 or 4 channels."""
    array = image[..., None] if image.ndim == 2 else image
    channels = array.shape[2] if array.ndim == 3 else 0
    if array.dtype != np.uint8 or channels not in (1, 3, 4) or not array.size:
        raise DatasetError(
            f'{name} is an array of {image.dtype}, shape {image.shape}; give uint8 (H, W, 3), '
            '(H, W, 4) or (H, W), and several images as a list'
        )
    return array


def read_image(
    source: Source,
    max_pixels: int = MAX_PIXELS,
    upright: bool = True,
    name: str = 'the image',
) -> np.ndarray:
    """Read an image.

    Of an animation the first frame is read, of 16 bits the upper 8; transparency is dropped.

    Args:
        source (str | Path | bytes | PIL.Image.Image | np.ndarray): A file, the bytes of one, a PIL
            image (its current frame), or an array (H, W, 3) uint8 RGB, which is returned.
        max_pixels (int): Larger images are refused. Defaults to 100 million.
        upright (bool): Apply the orientation in the EXIF data. Defaults to True.
        name (str): What error messages call an image that is not a file.

    Returns:
        np.ndarray: (H, W, 3) uint8 RGB.

    Raises:
        DatasetError: The image is missing, truncated, closed, too large, not an image, or its
            pixels have no 8-bit equivalent.
    """
    if isinstance(source, np.ndarray):
        return source
    if isinstance(source, (str, os.PathLike)):
        source = os.fspath(source)
        name = f'image "{source}"'
        if not os.path.isfile(source):
            what = 'is not a file' if os.path.exists(source) else 'does not exist'
            raise DatasetError(f'{name} {what}; check the path')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # an image is either read or an error
            if isinstance(source, Image.Image):
                return _read(source, name, max_pixels, upright)
            with _open(source, name) as image:
                return _read(image, name, max_pixels, upright)
    except DatasetError:
        raise
    except Exception as e:  # broken bytes make Pillow raise errors of many kinds
        reason = ' '.join(str(e).split())[:150]
        closed = 'closed, ' * isinstance(source, Image.Image)
        raise DatasetError(f'{name} is {closed}truncated or damaged: {reason}') from e


def _read(image: Image.Image, name: str, max_pixels: int, upright: bool) -> np.ndarray:
    width, height = image.size
    if width * height > max_pixels:
        raise DatasetError(
            f'{name} is too large: {width} x {height} pixels are more than the limit of '
            f'{max_pixels:,}; raise it with --max-pixels (in Python max_pixels)'
        )
    if not width * height:
        raise DatasetError(f'{name} has no pixels: {width} x {height}')
    file = getattr(image, 'fp', None)  # None once the image is decoded
    if image.format == 'PNG' and file is not None:
        check_png_rows(file, name)
    pixels = _to_rgb(image, name)
    # After decoding, as the EXIF data of a PNG may come after its pixels.
    return _apply_orientation(pixels, image.info.get('exif', b'') if upright else b'')


def _open(file: Union[str, bytes], name: str) -> Image.Image:
    """Open an image without Pillow's own limit, which ``max_pixels`` replaces."""
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, 'r', FORMATS)
        except Image.UnidentifiedImageError as e:
            size = len(file) if isinstance(file, bytes) else os.path.getsize(file)
            raise DatasetError(
                f'{name} ({size} bytes) is not an image, is truncated, or is not of a known format '
                f'({", ".join(FORMATS)} with 8 or 16 bits a channel, not floats)'
            ) from e
        finally:
            Image.MAX_IMAGE_PIXELS = limit


#: Pillow's limit is global: without a lock, one thread would restore it for another.
_OPENING = threading.Lock()


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    mode = image.mode
    if mode == 'F':
        raise DatasetError(f'{name} has float pixels; save it with 8 or 16 bits a channel')
    # Before Pillow 10 a 16-bit PNG is opened with 32 bits.
    if mode.startswith('I;16') or (mode == 'I' and image.format in ('PNG', 'PPM')):
        return np.dstack([(np.asarray(image) >> 8).astype(np.uint8)] * 3)
    if mode in ('I', 'LAB', 'HSV'):
        raise DatasetError(
            f"{name} has pixels of Pillow's mode {mode}; save it as RGB or gray with 8 or 16 bits "
            'a channel'
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
