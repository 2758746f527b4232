"""What stands on a shallow section: convolutions, pooling and a linear classifier."""

import inspect
import itertools
import math
import operator
from typing import Optional, Sequence, Union

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS

from ..exits import ExitOutput

#: Kaiming for convolutions and N(0, 0.01) for the classifier, as in mmpretrain's ``ResNet`` and
#: ``LinearClsHead``.
INIT_CFG = (
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', layer='BatchNorm2d', val=1),
    dict(type='Normal', layer='Linear', std=0.01),
)
InitCfg = Optional[Union[dict, Sequence[dict]]]


class PooledHead(BaseModule):
    """Convolutions, global average pooling and a linear classifier.

    Subclasses write :meth:`convolve`, and end their constructor with :meth:`add_classifier`: a seed
    draws the weights in the order of the modules.
    """

    def __init__(self, init_cfg: InitCfg) -> None:
        super().__init__(list(init_cfg) if isinstance(init_cfg, tuple) else init_cfg)

    def add_classifier(self, out_channels: int, num_classes: int) -> None:
        """Add what follows the convolutions, which give ``out_channels``."""
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(out_channels, num_classes)

    def convolve(self, x: Tensor) -> Tensor:
        """Bring a section's feature map (N, C, H, W) to (N, D, h, w)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> ExitOutput:
        """Feature (N, D) and logits (N, K) of a section's feature map (N, C, H, W)."""
        feature = self.gap(self.convolve(x)).flatten(1)
        return ExitOutput(feature, self.fc(feature))


@MODELS.register_module()
class BottleneckHead(PooledHead):
    """The exit head of the paper (figure 2): a bottleneck, pooling and a linear classifier.

    The bottleneck (1 x 1, k x k, 1 x 1 convolutions, each with batch norm and ReLU) brings a
    section's feature map to the channels of the deepest one and, as its middle convolution has
    kernel and stride ``downsample``, to its height and width. It reads every position once, so it
    costs a few percent of the network.

    Args:
        in_channels (int): Channels of the section's feature map.
        out_channels (int): Channels of the deepest feature, D.
        num_classes (int): Classes, K.
        downsample (int): How many times higher and wider the feature map is than the deepest one.
            Defaults to 1.
        reduction (int): The middle of the bottleneck has ``out_channels // reduction`` channels,
            and not more than ``in_channels``. Defaults to 4.
        norm_cfg (dict): Norm layers. Defaults to ``dict(type='BN')``.
        out_act_cfg (dict, optional): What follows the last convolution. Defaults to ReLU; None if
            the deepest feature has both signs, as after a layer norm, so that the hint loss can
            reach it.
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
        init_cfg: InitCfg = INIT_CFG,
    ) -> None:
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


@MODELS.register_module()
class StridedHead(PooledHead):
    """Strided 3 x 3 convolutions, pooling and a linear classifier.

    One convolution for each halving on the way to the size of the deepest feature map, each with
    ``growth`` times the channels of the one before, then a 1 x 1 convolution to the channels of the
    deepest feature. It costs about three times as much as :class:`BottleneckHead`, most of it at
    the shallow exits, and makes these more accurate: for networks that stop early.

    Args:
        growth (float | Sequence[float]): One number, or one for each of the strided convolutions.
            Defaults to 1.5. No convolution but the last has more than half of ``out_channels``.
        in_channels, out_channels, num_classes, norm_cfg, out_act_cfg, init_cfg: As in
            :class:`BottleneckHead`.
        downsample (int): As in :class:`BottleneckHead`; if it is 1, one convolution keeps the size.

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
        init_cfg: InitCfg = INIT_CFG,
    ) -> None:
        super().__init__(init_cfg)
        halvings = math.ceil(math.log2(max(1, downsample)))
        count = max(1, halvings)
        steps = growth if isinstance(growth, Sequence) else [growth] * count
        if min(in_channels, out_channels, num_classes, downsample, *steps) <= 0:
            raise ConfigError(
                f'StridedHead(in_channels={in_channels}, out_channels={out_channels}, '
                f'num_classes={num_classes}, downsample={downsample}, growth={growth}): all must '
                'be positive'
            )
        if len(steps) != count:
            raise ConfigError(
                f'StridedHead(growth={growth}): this head has {count} strided convolutions, so '
                'give as many numbers, or one for all'
            )
        stride, widest = 2 if halvings else 1, max(1, out_channels // 2)
        widths = [
            max(1, min(widest, round(in_channels * times)))
            for times in itertools.accumulate(steps, operator.mul)
        ]
        self.convs = Sequential(
            *(
                ConvModule(before, width, 3, stride=stride, padding=1, norm_cfg=norm_cfg)
                for before, width in zip([in_channels, *widths], widths)
            )
        )
        self.expand = ConvModule(
            widths[-1], out_channels, 1, norm_cfg=norm_cfg, act_cfg=out_act_cfg
        )
        self.add_classifier(out_channels, num_classes)

    def convolve(self, x: Tensor) -> Tensor:
        return self.expand(self.convs(x))


def complete_exit_head(
    cfg: dict, in_channels: int, out_channels: int, num_classes: int, downsample: int
) -> dict:
    """Fill in what the config of an exit head leaves open and its constructor asks for by name.

    MMRazor's heads ask for ``in_channel`` and ``out_channel``.

    Args:
        cfg (dict): Config of a head of any registered type; it is not changed.
        in_channels (int): Channels of the section's feature map.
        out_channels (int): Channels of the deepest feature, D.
        num_classes (int): Classes, K.
        downsample (int): How many times higher and wider the feature map is than the deepest one.

    Raises:
        ConfigError: No such head is registered.
    """
    head = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if head is None:
        raise ConfigError(
            f'exit_head: no model "{cfg["type"]}" is registered; write '
            '"mmrazor_byot.BottleneckHead" for ours, or import yours through custom_imports'
        )
    shapes = dict(
        in_channels=in_channels,
        in_channel=in_channels,
        out_channels=out_channels,
        out_channel=out_channels,
        num_classes=num_classes,
        downsample=downsample,
    )
    asked = inspect.signature(head).parameters
    return {**cfg, **{k: v for k, v in shapes.items() if k in asked and k not in cfg}}
