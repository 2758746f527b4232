"""What a recipe does to an image before the network sees it."""

from typing import List, Sequence, Union

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional

from mmrazor_byot.datasets import network_order
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.runtime.resize import check_interpolation

#: Transforms of a test pipeline that leave the picture as it is.
NO_CHANGE = ('PackInputs', 'LoadAnnotations', 'Collect')


class Preprocessing(nn.Module):
    """Images as they are in files to what the network takes: the first part of the graph.

    Colours in the network's order, minus the mean, over the standard deviation.

    Args:
        model (BaseModel): With the ``data_preprocessor`` of its recipe.
        order (str): ``'RGB'`` or ``'BGR'``: what the network takes.
    """

    def __init__(self, model: BaseModel, order: str) -> None:
        super().__init__()
        preprocessor = model.data_preprocessor
        self.turned = order == 'BGR'
        self.normalized = bool(getattr(preprocessor, '_enable_normalize', False))
        if self.normalized:
            mean, std = (getattr(preprocessor, n).detach().cpu().flatten() for n in ('mean', 'std'))
            self.register_buffer('mean', mean.clone())
            self.register_buffer('variance', std.square())

    def forward(self, images: Tensor) -> Tensor:
        """Preprocess a batch.

        Args:
            images (Tensor): (N, H, W, 3) uint8 RGB.

        Returns:
            Tensor: (N, 3, H, W) float32.
        """
        if self.turned:
            images = images.flip(-1)
        # Bytes are quicker to transpose than floats, planes to normalise than pixels.
        images = images.permute(0, 3, 1, 2).contiguous().to(torch.float32)
        if self.normalized:
            # One ONNX node; a difference and a quotient are two.
            images = functional.batch_norm(images, self.mean, self.variance, eps=0)
        return images


def preprocessing(cfg: Config, model: BaseModel) -> Preprocessing:
    """The preprocessing of a recipe and the model that was built from it.

    Raises:
        ConfigError: The images are not of three colours, or nothing says in which order they are.
    """
    if not cfg.get('test_dataloader'):
        raise ConfigError(
            'the config has no test_dataloader, whose pipeline says how images are read; give it '
            'one'
        )
    if model.input_size[0] != 3:
        raise ConfigError(
            f'the network takes images of {model.input_size[0]} channels; only those of three '
            'colours can be exported'
        )
    return Preprocessing(model, network_order(cfg))


def resize_steps(pipeline: Sequence[dict]) -> List[dict]:
    """How a test pipeline brings an image to the input size.

    Args:
        pipeline (Sequence[dict]): Configs of transforms.

    Returns:
        list[dict]: For :func:`mmrazor_byot.runtime.resize.prepare`.

    Raises:
        ConfigError: It does something that is not known there.
    """
    steps = []
    for transform in pipeline:
        name = str(transform['type']).split('.')[-1]
        how = dict(
            interpolation=transform.get('interpolation', 'bilinear'),
            backend=transform.get('backend', 'cv2'),
        )
        if name == 'LoadImageFromFile':
            _check_loader(transform)
        elif name in NO_CHANGE:
            continue
        elif name == 'CenterCrop' and not transform.get('auto_pad'):
            steps.append(dict(step='crop', size=_size(transform['crop_size'])))
        elif name == 'ResizeEdge':
            edge = transform.get('edge', 'short')
            steps.append(dict(step='resize_edge', scale=transform['scale'], edge=edge, **how))
        elif name == 'Resize' and transform.get('scale') and not transform.get('keep_ratio'):
            steps.append(dict(step='resize', size=_size(transform['scale']), **how))
        else:
            raise ConfigError(
                f'the test pipeline has {dict(transform)}, which the runtime without torch cannot '
                'do; it knows ResizeEdge, Resize with scale and without keep_ratio, and CenterCrop '
                'without auto_pad'
            )
        if name in ('Resize', 'ResizeEdge'):
            check_interpolation(**how)
    return steps


def _check_loader(transform: dict) -> None:
    """Refuse what would read an image otherwise than the runtime does."""
    expected = dict(color_type='color', imdecode_backend='cv2', to_float32=False)
    for name, value in expected.items():
        if transform.get(name, value) != value:
            raise ConfigError(
                f'LoadImageFromFile has {name}={transform[name]!r}, and the runtime reads images '
                f'as with {value!r}: test the network with that before you export it'
            )


def _size(scale: Union[int, Sequence[int]]) -> List[int]:
    """mmcv's S or (W, H) as [H, W]."""
    return [scale, scale] if isinstance(scale, int) else list(scale)[::-1]
