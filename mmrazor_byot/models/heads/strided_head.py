"""An exit head that looks again: strided convolutions and a classifier."""

import itertools
import math
import operator
from typing import Optional, Sequence, Union

from mmcv.cnn import ConvModule
from mmengine.model import Sequential
from torch import Tensor

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS

from .pooled_head import INIT_CFG, PooledHead


@MODELS.register_module()
class StridedHead(PooledHead):
    """Strided 3 x 3 convolutions, pooling and a linear classifier.

    One convolution for each halving on the way to the size of the deepest feature map, each with
    ``growth`` times the channels of the one before, then a 1 x 1 convolution to the channels of the
    deepest feature. It costs about three times as much as :class:`BottleneckHead`, most of it at
    the shallow exits, and makes these more accurate: for networks that stop early.

    Args:
        in_channels (int): Channels of the section's feature map.
        out_channels (int): Channels of the deepest feature, D.
        num_classes (int): Classes, K.
        downsample (int): How many times higher and wider the feature map is than the deepest one.
            Where it is 1, one convolution keeps the size. Defaults to 1.
        growth (float | Sequence[float]): One number, or one for each of the strided convolutions.
            Defaults to 1.5. No convolution but the last has more than half of ``out_channels``.
        norm_cfg (dict): Norm layers. Defaults to ``dict(type='BN')``.
        out_act_cfg (dict, optional): What follows the last convolution. Defaults to ReLU; see
            :class:`BottleneckHead`.
        init_cfg (dict | list, optional): Initialization, as in :class:`BottleneckHead`.

    Raises:
        ConfigError: A number is not positive, or ``growth`` has not as many as there are
            convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_classes: int,
        downsample: int = 1,
        growth: Union[float, Sequence[float]] = 1.5,
        norm_cfg: dict = dict(type='BN'),
        out_act_cfg: Optional[dict] = dict(type='ReLU'),
        init_cfg: Optional[Union[dict, Sequence[dict]]] = INIT_CFG,
    ):
        super().__init__(init_cfg)
        numbers = in_channels, out_channels, num_classes, downsample
        halvings = math.ceil(math.log2(max(1, downsample)))
        steps = growth if isinstance(growth, Sequence) else [growth] * max(1, halvings)
        if min(*numbers, *steps) <= 0:
            raise ConfigError(
                f'StridedHead(in_channels={in_channels}, out_channels={out_channels}, '
                f'num_classes={num_classes}, downsample={downsample}, growth={growth}): all must '
                'be positive'
            )
        if len(steps) != max(1, halvings):
            raise ConfigError(
                f'StridedHead(growth={growth}): this head has {max(1, halvings)} strided '
                'convolutions, so give as many numbers, or one for all'
            )
        widest = max(1, out_channels // 2)
        widths = [
            max(1, min(widest, round(in_channels * times)))
            for times in itertools.accumulate(steps, operator.mul)
        ]
        self.convs = Sequential(
            *(
                ConvModule(
                    before, width, 3, stride=2 if halvings else 1, padding=1, norm_cfg=norm_cfg
                )
                for before, width in zip([in_channels, *widths], widths)
            )
        )
        self.expand = ConvModule(
            widths[-1], out_channels, 1, norm_cfg=norm_cfg, act_cfg=out_act_cfg
        )
        self.add_classifier(out_channels, num_classes)

    def convolve(self, x: Tensor) -> Tensor:
        return self.expand(self.convs(x))
