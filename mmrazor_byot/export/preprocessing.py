"""Preprocessing of a recipe, as steps of the runtime and as a part of the graph."""

from typing import List, Sequence, Union

from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn

from mmrazor_byot.apis.transform import Preprocessing
from mmrazor_byot.datasets import network_order
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.runtime.resize import check_interpolation

#: Transforms of a test pipeline that do not change the pixels.
NO_CHANGE = ('PackInputs', 'LoadAnnotations', 'Collect')


def preprocessing(cfg: Config, model: BaseModel) -> Preprocessing:
    """The preprocessing of a recipe and the model that was built from it.

    Raises:
        ConfigError: The images do not have three channels, or the config has no test pipeline.
    """
    if not cfg.get('test_dataloader'):
        raise ConfigError(
            'the config has no test_dataloader; the export needs its pipeline, which reads images'
        )
    if model.input_size[0] != 3:
        raise ConfigError(
            f'the network takes images of {model.input_size[0]} channels; only networks of three '
            'channels can be exported'
        )
    return normalization(model.data_preprocessor, network_order(cfg))


def normalization(preprocessor: nn.Module, order: str) -> Preprocessing:
    """A data preprocessor of a network that expects this channel order, ``'RGB'`` or ``'BGR'``."""
    mean = std = None
    if getattr(preprocessor, '_enable_normalize', False):
        mean, std = (getattr(preprocessor, n).detach().cpu().flatten() for n in ('mean', 'std'))
    return Preprocessing(mean, std, to_bgr=order == 'BGR')


def resize_steps(pipeline: Sequence[dict]) -> List[dict]:
    """Translate a test pipeline into steps of :func:`mmrazor_byot.runtime.resize.prepare`.

    Args:
        pipeline (Sequence[dict]): Configs of transforms.

    Raises:
        ConfigError: A transform has no equivalent there.
    """
    steps: List[dict] = []
    for transform in pipeline:
        name = str(transform['type']).split('.')[-1]
        method = dict(
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
            steps.append(dict(step='resize_edge', scale=transform['scale'], edge=edge, **method))
        elif name == 'Resize' and transform.get('scale') and not transform.get('keep_ratio'):
            steps.append(dict(step='resize', size=_size(transform['scale']), **method))
        else:
            raise ConfigError(
                f'the test pipeline has {dict(transform)}, which the runtime does not support; '
                'it has ResizeEdge, Resize with scale and without keep_ratio, and CenterCrop '
                'without auto_pad'
            )
        if name in ('Resize', 'ResizeEdge'):
            check_interpolation(**method)
    return steps


def _check_loader(transform: dict) -> None:
    """Refuse arguments with which an image would differ from what the runtime reads."""
    expected = dict(color_type='color', imdecode_backend='cv2', to_float32=False)
    for name, value in expected.items():
        if transform.get(name, value) != value:
            raise ConfigError(
                f'LoadImageFromFile has {name}={transform[name]!r}, but the runtime reads images '
                f'as with {value!r}: test the network with that before the export'
            )


def _size(scale: Union[int, Sequence[int]]) -> List[int]:
    """Convert mmcv's S or (W, H) to [H, W]."""
    return [scale, scale] if isinstance(scale, int) else list(scale)[::-1]
