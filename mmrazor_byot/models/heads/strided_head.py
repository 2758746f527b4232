"""An exit head that looks twice: strided convolutions and a classifier."""
import math
from typing import List, Optional, Union

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS
from mmrazor_byot.structures import ExitOutput


@MODELS.register_module()
class StridedHead(BaseModule):
    """Two strided convolutions, pooling and a linear classifier.

    The last convolution halves height and width to those of the deepest
    feature map, the one before it does all halvings before that; then a 1 x 1
    convolution leads to the channels of the deepest feature. It costs about
    twice as much as :class:`BottleneckHead`, whose middle is as narrow as
    what it reads, and makes the shallow exits more accurate: for networks
    that stop early.

    Args:
        in_channels (int): Channels of the section's feature map.
        out_channels (int): Channels of the deepest feature, D.
        num_classes (int): Classes, K.
        downsample (int): How many times higher and wider the feature map is
            than the deepest one. Where it is 2, there is one strided
            convolution; where it is 1, it keeps the size. Defaults to 1.
        growth (float): So many times the channels for each halving, up to
            half of ``out_channels``. Defaults to 1.5.
        norm_cfg (dict): Norm layers. Defaults to ``dict(type='BN')``.
        out_act_cfg (dict, optional): What follows the last convolution.
            Defaults to ReLU; see :class:`BottleneckHead`.
        init_cfg (dict | list, optional): Initialization, as in
            :class:`BottleneckHead`.

    Raises:
        ConfigError: A number is not positive.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 num_classes: int,
                 downsample: int = 1,
                 growth: float = 1.5,
                 norm_cfg: dict = dict(type='BN'),
                 out_act_cfg: Optional[dict] = dict(type='ReLU'),
                 init_cfg: Optional[Union[dict, List[dict]]] = (
                     dict(type='Kaiming', layer='Conv2d'),
                     dict(type='Constant', layer='BatchNorm2d', val=1),
                     dict(type='Normal', layer='Linear', std=0.01))):
        super().__init__(
            list(init_cfg) if isinstance(init_cfg, tuple) else init_cfg)
        numbers = in_channels, out_channels, num_classes, downsample
        if min(numbers) < 1 or growth <= 0:
            raise ConfigError(
                f'StridedHead(in_channels={in_channels}, out_channels='
                f'{out_channels}, num_classes={num_classes}, downsample='
                f'{downsample}, growth={growth}): all must be positive')
        strides = _strides(downsample)
        widest, halvings = max(1, out_channels // 2), 0
        convs, before = [], in_channels
        for stride in strides:
            halvings += max(1, stride.bit_length() - 1)
            width = min(widest, max(1, round(in_channels * growth**halvings)))
            convs.append(
                ConvModule(
                    before,
                    width,
                    max(3, stride),
                    stride=stride,
                    padding=1 if stride < 3 else 0,
                    norm_cfg=norm_cfg))
            before = width
        self.convs = Sequential(*convs)
        self.expand = ConvModule(
            before,
            out_channels,
            1,
            norm_cfg=norm_cfg,
            act_cfg=out_act_cfg)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(out_channels, num_classes)

    def forward(self, x: Tensor) -> ExitOutput:
        """Classify a section's feature map.

        Args:
            x (Tensor): Feature map, (N, C, H, W).

        Returns:
            ExitOutput: Feature (N, D) and logits (N, K).
        """
        feature = self.gap(self.expand(self.convs(x))).flatten(1)
        return ExitOutput(feature, self.fc(feature))


def _strides(downsample: int) -> List[int]:
    """Powers of two that bring a map to the size of the deepest."""
    halvings = math.ceil(math.log2(downsample))
    if halvings < 2:
        return [2**halvings]
    return [2**(halvings - 1), 2]
