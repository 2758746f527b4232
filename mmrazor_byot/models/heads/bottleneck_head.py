"""The exit head of the paper: a bottleneck and a classifier."""

from typing import Optional, Sequence, Union

from mmcv.cnn import ConvModule
from mmengine.model import Sequential
from torch import Tensor

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS

from .pooled_head import INIT_CFG, PooledHead


@MODELS.register_module()
class BottleneckHead(PooledHead):
    """Bottleneck, global average pooling and a linear classifier (figure 2).

    The bottleneck (1 x 1, k x k, 1 x 1 convolutions, each with batch norm and ReLU) brings a
    section's feature map to the channels of the deepest one and, as its middle convolution has
    kernel and stride ``downsample``, to its height and width. It looks at every position once, so
    it costs a few percent of the network.

    Args:
        in_channels (int): Channels of the section's feature map.
        out_channels (int): Channels of the deepest feature, D.
        num_classes (int): Classes, K.
        downsample (int): How many times higher and wider the feature map is than the deepest one.
            Defaults to 1.
        reduction (int): The middle of the bottleneck has ``out_channels // reduction`` channels,
            and not more than ``in_channels``. Defaults to 4.
        norm_cfg (dict): Norm layers. Defaults to ``dict(type='BN')``.
        out_act_cfg (dict, optional): What follows the last convolution. Defaults to ReLU; None
            where the deepest feature has both signs, as behind a layer norm, so that the hint loss
            can reach it.
        init_cfg (dict | list, optional): Initialization. Defaults to Kaiming for convolutions and
            N(0, 0.01) for the classifier, as in mmpretrain's ``ResNet`` and ``LinearClsHead``.

    Raises:
        ConfigError: A number is not positive, or the reduction too large.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_classes: int,
        downsample: int = 1,
        reduction: int = 4,
        norm_cfg: dict = dict(type='BN'),
        out_act_cfg: Optional[dict] = dict(type='ReLU'),
        init_cfg: Optional[Union[dict, Sequence[dict]]] = INIT_CFG,
    ):
        super().__init__(init_cfg)
        if min(in_channels, out_channels, num_classes, downsample) < 1:
            raise ConfigError(
                f'BottleneckHead(in_channels={in_channels}, out_channels={out_channels}, '
                f'num_classes={num_classes}, downsample={downsample}): all must be at least 1'
            )
        if not 1 <= reduction <= out_channels:
            raise ConfigError(
                f'BottleneckHead(reduction={reduction}): must be from 1 to the {out_channels} '
                'channels of the deepest feature'
            )
        # No wider than what it reads: at full size, width is what costs.
        middle = min(in_channels, out_channels // reduction)
        # A 1 x 1 in the middle would see no neighbours: keep a 3 x 3 there.
        kernel, padding = (downsample, 0) if downsample > 1 else (3, 1)
        self.bottleneck = Sequential(
            ConvModule(in_channels, middle, 1, norm_cfg=norm_cfg),
            ConvModule(
                middle, middle, kernel, stride=downsample, padding=padding, norm_cfg=norm_cfg
            ),
            ConvModule(middle, out_channels, 1, norm_cfg=norm_cfg, act_cfg=out_act_cfg),
        )
        self.add_classifier(out_channels, num_classes)

    def convolve(self, x: Tensor) -> Tensor:
        return self.bottleneck(x)
