"""Preparation of images for a network: steps on the pixels, then normalization."""

from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn import functional

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.runtime.images import Source, read_image
from mmrazor_byot.runtime.resize import check_interpolation, prepare

#: Transforms of torchvision and timm after which pixels are floats from 0 to 1.
TO_FLOAT = ('ToTensor', 'MaybeToTensor', 'ConvertImageDtype')
#: Those after which an image is a tensor, without another scale.
TO_TENSOR = ('PILToTensor', 'MaybePILToTensor', 'ToImage', 'ToPureTensor')


class Preprocessing(nn.Module):
    """Channel order and normalization, as the first part of a network.

    Args:
        mean, std (Tensor, optional): Of each channel in the network's order, for pixels from 0 to
            255, (3,). None leaves the pixels as they are.
        to_bgr (bool): Whether the network expects BGR. Defaults to False.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, mean: Optional[Tensor], std: Optional[Tensor], to_bgr: bool = False) -> None:
        super().__init__()
        self.to_bgr, self.normalize = to_bgr, mean is not None
        if mean is not None and std is not None:
            self.register_buffer('mean', mean.clone())
            self.register_buffer('variance', std.square())

    def forward(self, images: Tensor) -> Tensor:
        """Preprocess a batch.

        Args:
            images (Tensor): (N, H, W, 3) uint8 RGB.

        Returns:
            Tensor: (N, 3, H, W) float32.
        """
        if self.to_bgr:
            images = images.flip(-1)
        # uint8 is faster to transpose than float32, and NCHW faster to normalize than NHWC.
        images = images.permute(0, 3, 1, 2).contiguous().to(torch.float32)
        if self.normalize:
            # One ONNX node instead of two, Sub and Div.
            images = functional.batch_norm(images, self.mean, self.variance, eps=0)
        return images


class ImageTransform(NamedTuple):
    """A transform of torchvision or timm as data, see :func:`read_transform`."""

    steps: List[dict]  # of :func:`mmrazor_byot.runtime.resize.prepare`
    mean: List[float]  # of each channel, for pixels from 0 to 255
    std: List[float]

    def preprocessing(self) -> Preprocessing:
        """The normalization as a module."""
        return Preprocessing(torch.tensor(self.mean), torch.tensor(self.std))


def read_transform(transform: Any) -> ImageTransform:
    """Read a transform of torchvision or timm that prepares test images.

    It can be ``weights.transforms()`` of torchvision, ``timm.data.create_transform(...)``, or a
    ``Compose`` of ``Resize`` and ``CenterCrop`` of PIL images, ``ToTensor`` and ``Normalize``.

    Raises:
        ConfigError: It does something else.
    """
    if type(transform).__name__ == 'ImageClassification':  # the preset of torchvision's weights
        resize = _resize(transform.resize_size, transform.interpolation)
        steps = [resize, dict(step='crop', size=_pair(transform.crop_size))]
        return ImageTransform(steps, *_scaled(transform.mean, transform.std, 255))
    parts = list(getattr(transform, 'transforms', [transform]))
    steps, scale = [], 0  # 0: not a tensor yet
    mean, std = [0.0] * 3, [1.0] * 3
    for part in parts:
        name = type(part).__name__
        if name == 'Resize' and not scale and part.max_size is None:
            steps.append(_resize(part.size, part.interpolation))
        elif name == 'CenterCrop' and not scale:
            steps.append(dict(step='crop', size=_pair(part.size)))
        elif name in TO_FLOAT or (name == 'ToDtype' and part.scale):
            scale = 255
        elif name in TO_TENSOR or name == 'ToDtype':
            scale = scale or 1
        elif name == 'Normalize' and scale and len(part.mean) == len(part.std) == 3:
            mean, std = list(map(float, part.mean)), list(map(float, part.std))
        else:
            raise ConfigError(
                f'transform: {part} is not supported here; prepare test images by Resize and '
                'CenterCrop of PIL images, then ToTensor and Normalize of three channels'
            )
    if not scale:
        raise ConfigError(f'transform: {transform} does not end with a tensor; add ToTensor()')
    return ImageTransform(steps, *_scaled(mean, std, scale))


class TransformPipeline:
    """Reads an image and takes the steps of a transform, for the inferencer.

    The network's ``input_size`` is (C, H, W).
    """

    def __init__(
        self, transform: ImageTransform, input_size: Tuple[int, int, int], max_pixels: int
    ) -> None:
        self.steps, self.size, self.max_pixels = transform.steps, input_size[1:], max_pixels

    def __call__(self, source: Source, name: str = 'the image') -> dict:
        """Read and prepare an image, see :func:`read_image`.

        Returns:
            dict: ``inputs`` (3, H, W) uint8 RGB, and ``data_samples``.

        Raises:
            DatasetError: The image cannot be read.
        """
        image = prepare(read_image(source, self.max_pixels, name=name), self.steps, self.size)
        return dict(inputs=torch.tensor(image).permute(2, 0, 1), data_samples=DataSample())


def _resize(size: Any, interpolation: Any) -> dict:
    method = dict(interpolation=str(getattr(interpolation, 'value', interpolation)))
    method['backend'] = 'pillow'
    check_interpolation(**method)
    numbers = [size] if isinstance(size, int) else list(size)
    if len(numbers) == 1:
        return dict(step='resize_edge', scale=numbers[0], edge='short', **method)
    return dict(step='resize', size=numbers, **method)


def _pair(size: Any) -> List[int]:
    numbers = [size] if isinstance(size, int) else list(size)
    return numbers * 2 if len(numbers) == 1 else numbers


def _scaled(mean: Sequence[float], std: Sequence[float], scale: int) -> List[List[float]]:
    return [[scale * float(x) for x in values] for values in (mean, std)]
