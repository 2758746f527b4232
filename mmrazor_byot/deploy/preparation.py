"""What a recipe does to an image before the network sees it."""

from typing import List, Sequence

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.inference.channels import network_order

#: Transforms of a test pipeline that leave the picture as it is.
NO_CHANGE = ('LoadImageFromFile', 'PackInputs', 'LoadAnnotations', 'Collect')


class Preparation(nn.Module):
    """Images as they are in files to what the network takes.

    It stands in front of the exported network: colours in the network's
    order, minus the mean, over the standard deviation.

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
            for name in ('mean', 'std'):
                value = getattr(preprocessor, name).detach().cpu()
                self.register_buffer(name, value.reshape(-1, 1, 1).clone())

    def forward(self, images: Tensor) -> Tensor:
        """Prepare a batch.

        Args:
            images (Tensor): (N, H, W, 3) uint8 RGB.

        Returns:
            Tensor: (N, 3, H, W) float32.
        """
        if self.turned:
            images = images.flip(-1)
        # Bytes are quicker to transpose than floats, planes to normalise
        # than pixels.
        images = images.permute(0, 3, 1, 2).contiguous().to(torch.float32)
        if self.normalized:
            images = (images - self.mean) / self.std
        return images


def preparation(cfg: Config, model: BaseModel) -> Preparation:
    """The preparation of a recipe.

    Args:
        cfg (Config): The recipe.
        model (BaseModel): Built from it.

    Raises:
        ConfigError: The images are not of three colours, or nothing says in
            which order they are.
    """
    if not cfg.get('test_dataloader'):
        raise ConfigError(
            'the config has no test_dataloader, whose pipeline '
            'says how images are read; give it one'
        )
    if model.input_size[0] != 3:
        raise ConfigError(
            f'the network takes images of '
            f'{model.input_size[0]} channels; only those of '
            'three colours can be exported'
        )
    return Preparation(model, network_order(cfg))


def resize_steps(pipeline: Sequence[dict]) -> List[dict]:
    """How a test pipeline brings an image to the input size.

    Args:
        pipeline (Sequence[dict]): Configs of transforms.

    Returns:
        list[dict]: For :mod:`mmrazor_byot.deploy.images`.

    Raises:
        ConfigError: It does something that is not known there.
    """
    steps = []
    for transform in pipeline:
        name = str(transform['type']).split('.')[-1]
        if name in NO_CHANGE:
            continue
        if name == 'CenterCrop' and not transform.get('auto_pad'):
            steps.append(dict(step='crop', size=_size(transform.crop_size)))
        elif name == 'ResizeEdge':
            steps.append(
                dict(
                    step='resize_edge',
                    scale=transform.scale,
                    edge=transform.get('edge', 'short'),
                    **_how(transform),
                )
            )
        elif name == 'Resize' and transform.get('scale') and not transform.get('keep_ratio'):
            steps.append(dict(step='resize', size=_size(transform.scale), **_how(transform)))
        else:
            raise ConfigError(
                f'the test pipeline has {dict(transform)}, which the runtime '
                'without torch cannot do; it knows ResizeEdge, Resize with '
                'scale and without keep_ratio, and CenterCrop without '
                'auto_pad'
            )
    return steps


def _size(scale) -> List[int]:
    """mmcv's S or (W, H) as [H, W]."""
    return [scale, scale] if isinstance(scale, int) else list(scale)[::-1]


def _how(transform: dict) -> dict:
    return dict(
        interpolation=transform.get('interpolation', 'bilinear'),
        backend=transform.get('backend', 'cv2'),
    )
