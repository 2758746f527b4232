"""Prepare an image as the data set of the config does."""

from typing import List, Sequence, Tuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import Compose
from mmpretrain.registry import TRANSFORMS

from mmrazor_byot.datasets import per_image, reads_bgr
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.runtime.images import MAX_PIXELS, Source, read_image
from mmrazor_byot.runtime.resize import prepare

#: Supported values of ``color_type`` of LoadImageFromFile.
COLORS = ('color', 'color_ignore_orientation', 'grayscale', 'grayscale_ignore_orientation')


class ImagePipeline:
    """Reads an image and applies the transforms of the test data set.

    A data set in memory gives RGB images of the network's input size, so its transforms neither
    read files nor resize; an image is converted to RGB and resized before them. The network's
    ``input_size`` is (C, H, W).

    Raises:
        ConfigError: A setting of LoadImageFromFile is not supported.
    """

    def __init__(
        self,
        transforms: Sequence[dict],
        input_size: Tuple[int, int, int],
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        loaders = [t for t in transforms if reads_bgr([t])]
        loader = loaders[0] if loaders else {}
        self.input_size, self.max_pixels, self.bgr = input_size, max_pixels, bool(loaders)
        self.color = loader.get('color_type', 'color')
        self.to_float32 = loader.get('to_float32', False)
        backend = loader.get('imdecode_backend', 'cv2')
        if self.color not in COLORS or backend != 'cv2':
            raise ConfigError(
                f"LoadImageFromFile: color_type='{self.color}', imdecode_backend='{backend}'; "
                f"supported are {', '.join(COLORS)}, and 'cv2'"
            )
        steps = [TRANSFORMS.build(t) for t in transforms if not reads_bgr([t])]
        self.resizes = gives_other_size(steps, input_size)
        if not self.resizes:
            steps.insert(0, self._fit)
        self.transforms = Compose(steps)

    def __call__(self, source: Source, name: str = 'the image') -> dict:
        """Read and prepare an image, see :func:`read_image`.

        Returns:
            dict: ``inputs`` (C, H, W), not yet normalized, and ``data_samples``.

        Raises:
            DatasetError: The image cannot be read.
            ConfigError: The transforms do not give the network's input size.
        """
        upright = not self.color.endswith('ignore_orientation')
        image = read_image(source, self.max_pixels, upright, name)
        image = np.ascontiguousarray(image[..., ::-1] if self.bgr else image)
        if self.color.startswith('grayscale'):
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if self.to_float32:
            image = image.astype(np.float32)
        packed = _run(self.transforms, image)
        found = tuple(packed['inputs'].shape)
        if found != self.input_size:
            raise ConfigError(
                f'the pipeline of the test data turns an image of {image.shape[:2]} to {found}, '
                f'but the network was built for input_size={self.input_size}: make them equal'
            )
        return packed

    def _fit(self, results: dict) -> dict:
        """Resize an image to the network's input size, without keeping its aspect ratio."""
        results['img'] = prepare(results['img'], [], self.input_size[1:])
        results['img_shape'] = results['img'].shape[:2]
        return results


def gives_other_size(steps: Sequence[BaseTransform], input_size: Tuple[int, int, int]) -> bool:
    """Whether transforms of images that are loaded give them another size."""
    probe = np.zeros((input_size[1] + 8, input_size[2] + 16, 3), np.uint8)
    return _run(Compose(steps), probe)['inputs'].shape[-2:] != probe.shape[:2]


def data_transforms(cfg: Config) -> List[dict]:
    """Configs of the transforms of the test data; a :class:`ConfigError` if there are none."""
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
    pipeline = per_image(loader).get('dataset', {}).get('pipeline')
    if pipeline is None:
        raise ConfigError(
            'the config has no test_dataloader.dataset.pipeline, which prepares images for the '
            'network; give a whole recipe'
        )
    return list(pipeline)


def _run(transforms: Compose, image: np.ndarray) -> dict:
    size = image.shape[:2]
    return transforms(dict(img=image, img_shape=size, ori_shape=size))
