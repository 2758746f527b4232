"""An image as the network's data set would have handed it over."""

from typing import List, Sequence, Tuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import Compose
from mmpretrain.registry import TRANSFORMS

from mmrazor_byot.datasets import per_image, reads_bgr
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.runtime.images import MAX_PIXELS, read_image
from mmrazor_byot.runtime.resize import prepare

from .image_inputs import Image

#: What ``color_type`` of LoadImageFromFile may be.
COLOURS = ('color', 'color_ignore_orientation', 'grayscale', 'grayscale_ignore_orientation')


class ImagePipeline:
    """Reads an image and runs the data set's transforms on it.

    A data set in memory hands over RGB images of the network's size, so its transforms neither open
    files nor resize. For it an image is turned to RGB and resized first. Transforms that resize on
    their own are used as they are.

    Args:
        transforms (Sequence[dict]): Configs of the test data set's.
        input_size (tuple): (C, H, W) of the network.
        max_pixels (int): The largest file that is read. Defaults to 100 million pixels.

    Raises:
        ConfigError: They read images in a way that is not known here.
    """

    def __init__(
        self,
        transforms: Sequence[dict],
        input_size: Tuple[int, int, int],
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        loaders = [t for t in transforms if reads_bgr([t])]
        self.input_size, self.max_pixels = tuple(input_size), max_pixels
        self.bgr = bool(loaders)
        loader = loaders[0] if loaders else {}
        self.colour = loader.get('color_type', 'color')
        self.to_float32 = loader.get('to_float32', False)
        backend = loader.get('imdecode_backend', 'cv2')
        if self.colour not in COLOURS or backend != 'cv2':
            raise ConfigError(
                f"LoadImageFromFile has color_type='{self.colour}', imdecode_backend='{backend}'; "
                f"images are read here as with one of {', '.join(COLOURS)}, and 'cv2'"
            )
        steps = [TRANSFORMS.build(t) for t in transforms if not reads_bgr([t])]
        self.resizes = not _keeps_size(steps, self.input_size)
        if not self.resizes:
            steps.insert(0, self._fit)
        self.transforms = Compose(steps)

    def __call__(self, image: Image) -> dict:
        """Prepare one image.

        Args:
            image (str | np.ndarray): A file, or (H, W, 3) uint8 BGR.

        Returns:
            dict: ``inputs`` (C, H, W), not yet normalized, and ``data_samples``.

        Raises:
            DatasetError: The file is missing, truncated or not an image.
            ConfigError: What comes out is not of the network's size.
        """
        if isinstance(image, str):
            upright = not self.colour.endswith('ignore_orientation')
            image = read_image(image, self.max_pixels, upright)[..., ::-1]
        image = np.ascontiguousarray(image if self.bgr else image[..., ::-1])
        if self.colour.startswith('grayscale'):
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if self.to_float32:
            image = image.astype(np.float32)
        size = image.shape[:2]
        packed = self.transforms(dict(img=image, img_shape=size, ori_shape=size))
        found = tuple(packed['inputs'].shape)
        if found != self.input_size:
            raise ConfigError(
                f'the pipeline of the test data makes an image of {size} to {found}, but the '
                f'network was built for input_size={self.input_size}: set one of them to the other'
            )
        return packed

    def _fit(self, results: dict) -> dict:
        """Bring an image to the network's size, whatever its proportions."""
        results['img'] = prepare(results['img'], [], self.input_size[1:])
        results['img_shape'] = results['img'].shape[:2]
        return results


def data_transforms(cfg: Config) -> List[dict]:
    """Configs of the transforms that test images go through.

    Raises:
        ConfigError: The config has no test data.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
    pipeline = per_image(loader).get('dataset', {}).get('pipeline')
    if pipeline is None:
        raise ConfigError(
            'the config has no test_dataloader.dataset.pipeline, so it is not known how to show an '
            'image to the network; give a whole recipe'
        )
    return list(pipeline)


def _keeps_size(steps: Sequence[BaseTransform], input_size: Tuple[int, int, int]) -> bool:
    """Whether an image leaves the transforms as large as it came."""
    _, height, width = input_size
    probe = np.zeros((height + 8, width + 16, 3), np.uint8)
    packed = Compose(steps)(dict(img=probe, img_shape=probe.shape[:2], ori_shape=probe.shape[:2]))
    return tuple(packed['inputs'].shape[-2:]) == probe.shape[:2]
