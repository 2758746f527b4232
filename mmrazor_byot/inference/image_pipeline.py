"""An image as the network's data set would have handed it over."""

import contextlib
import os
import warnings
from typing import List, Sequence, Tuple

import cv2
import numpy as np
import PIL.Image
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import Compose
from mmpretrain.registry import TRANSFORMS

from mmrazor_byot.datasets import per_image
from mmrazor_byot.errors import ConfigError, DatasetError

from .channels import reads_bgr
from .image_inputs import Image

#: Settings of a loader that concern where the data set lay.
ELSEWHERE = ('backend_args', 'file_client_args', 'ignore_empty')


class ImagePipeline:
    """Reads an image and runs the data set's transforms on it.

    A data set in memory hands over RGB images of the network's size, so its
    transforms neither open files nor resize. For it an image is turned to RGB
    and resized first. Transforms that resize on their own are used as they
    are.

    Args:
        transforms (Sequence[dict]): Configs of the test data set's.
        input_size (tuple): (C, H, W) of the network.
    """

    def __init__(self, transforms: Sequence[dict], input_size: Tuple[int, int, int]) -> None:
        loaders = [dict(t) for t in transforms if reads_bgr([t])]
        self.input_size = tuple(input_size)
        self.bgr = bool(loaders)
        loader = {
            key: value
            for key, value in (loaders or [dict(type='LoadImageFromFile')])[0].items()
            if key not in ELSEWHERE
        }
        self.loader = TRANSFORMS.build(loader)
        steps = [TRANSFORMS.build(t) for t in transforms if not reads_bgr([t])]
        self.resizes = not _keeps_size(steps, self.input_size)
        if not self.resizes:
            steps.insert(0, _Fit(self.input_size))
        self.transforms = Compose(steps)

    def __call__(self, image: Image) -> dict:
        """Prepare one image.

        Args:
            image (str | np.ndarray): A file, or (H, W, 3) uint8 BGR.

        Returns:
            dict: ``inputs`` (C, H, W), not yet normalized, and
            ``data_samples``.

        Raises:
            DatasetError: The file is missing, truncated or no image.
            ConfigError: What comes out is not of the network's size.
        """
        results = self._load(image)
        if not self.bgr:
            results['img'] = results['img'][..., ::-1].copy()
        packed = self.transforms(results)
        size = tuple(packed['inputs'].shape)
        if size != self.input_size:
            raise ConfigError(
                f'the pipeline of the test data makes an image of '
                f'{results["ori_shape"]} to {size}, but the network was '
                f'built for input_size={self.input_size}: set one of them to '
                'the other'
            )
        return packed

    def _load(self, image: Image) -> dict:
        """What ``LoadImageFromFile`` leaves: ``img`` BGR and its size."""
        if isinstance(image, str):
            return _read(image, self.loader)
        if self.loader.color_type.startswith('grayscale'):
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if self.loader.to_float32:
            image = image.astype(np.float32)
        return dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])


def read_image(image: Image) -> np.ndarray:
    """An image to look at: (H, W, 3) uint8 RGB.

    Args:
        image (str | np.ndarray): A file, or (H, W, 3) uint8 BGR.

    Raises:
        DatasetError: The file is missing, truncated or no image.
    """
    if isinstance(image, str):
        image = _read(image, TRANSFORMS.build(dict(type='mmpretrain.LoadImageFromFile')))['img']
    return image[..., ::-1].copy()


def data_transforms(cfg: Config) -> List[dict]:
    """Configs of the transforms that test images go through.

    Raises:
        ConfigError: The config has no test data.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
    pipeline = per_image(loader).get('dataset', {}).get('pipeline')
    if pipeline is None:
        raise ConfigError(
            'the config has no test_dataloader.dataset.pipeline, so it is not '
            'known how to show an image to the network; give a whole recipe'
        )
    return list(pipeline)


def _read(path: str, loader: BaseTransform) -> dict:
    try:
        _check_jpeg(path)
        return loader.transform(dict(img_path=path))
    # AssertionError: OpenCV could not decode it.
    except (OSError, ValueError, AssertionError, cv2.error) as e:
        if not os.path.isfile(path):
            raise DatasetError(f'image "{path}" does not exist; check the path') from e
        size = os.path.getsize(path)
        raise DatasetError(
            f'image "{path}" ({size} bytes) cannot be read: it '
            'is truncated or no image; copy it again'
        ) from e


def _check_jpeg(path: str) -> None:
    """OpenCV fills up what is missing of a JPEG file; Pillow raises."""
    with open(path, 'rb') as f:
        if f.read(2) != b'\xff\xd8':
            return
    with contextlib.suppress(PIL.Image.DecompressionBombError), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of a size that OpenCV judges
        with PIL.Image.open(path) as image:
            image.draft('L', (1, 1))  # as small as it decodes
            image.load()


def _keeps_size(steps: Sequence[BaseTransform], input_size: Tuple[int, int, int]) -> bool:
    """Whether an image leaves the transforms as large as it came."""
    _, height, width = input_size
    probe = np.zeros((height + 8, width + 16, 3), np.uint8)
    packed = Compose(steps)(dict(img=probe, img_shape=probe.shape[:2], ori_shape=probe.shape[:2]))
    return tuple(packed['inputs'].shape[-2:]) == probe.shape[:2]


class _Fit:
    """Brings an image to the network's size, whatever its proportions."""

    def __init__(self, input_size: Tuple[int, int, int]) -> None:
        _, self.height, self.width = input_size
        # Small ones are interpolated; of a photograph all pixels count.
        self.enlarge, self.reduce = (
            TRANSFORMS.build(
                dict(type='mmpretrain.Resize', scale=(self.width, self.height), interpolation=kind)
            )
            for kind in ('bilinear', 'area')
        )

    def __call__(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        larger = height >= self.height and width >= self.width
        return (self.reduce if larger else self.enlarge)(results)
