"""Exit heads: convolutions, pooling and a linear classifier after a shallow section."""

import inspect
import math
from collections import OrderedDict
from typing import Callable, Dict, List, Optional, Sequence, Union

from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError

from .method import ExitOutput


class ConvBlock(nn.Sequential):
    """Convolution, batch norm and activation, with the names and draws of mmcv's ``ConvModule``."""

    conv: nn.Conv2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        act_cfg: Optional[dict] = dict(type='ReLU'),
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        layers: Dict[str, nn.Module] = dict(conv=conv, bn=nn.BatchNorm2d(out_channels))
        if act_cfg:
            arguments = dict(inplace=True) | act_cfg
            layers['activate'] = getattr(nn, arguments.pop('type'))(**arguments)
        super().__init__(OrderedDict(layers))
        self.init_weights()

    def init_weights(self) -> None:
        """Draw the weights of the convolution."""
        nn.init.kaiming_normal_(self.conv.weight, mode='fan_out', nonlinearity='relu')


class PooledHead(nn.Module):
    """Convolutions, global average pooling and a linear classifier.

    Subclasses implement :meth:`convolve` and end their constructor with :meth:`add_classifier`:
    weights are drawn in the order of the modules.
    """

    def add_classifier(self, out_channels: int, num_classes: int) -> None:
        """Add pooling and the classifier after convolutions with ``out_channels``."""
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(out_channels, num_classes)

    def init_weights(self) -> None:
        """Draw the weights: Kaiming for convolutions, N(0, 0.01) for the classifier."""
        blocks: List[ConvBlock] = [m for m in self.modules() if isinstance(m, ConvBlock)]
        for block in blocks:
            block.init_weights()
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)
        for block in blocks:  # again, as MMEngine does: a seed gives the same weights as before
            block.init_weights()

    def convolve(self, x: Tensor) -> Tensor:
        """Map the feature map (N, C, H, W) of a section to (N, D, h, w)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> ExitOutput:
        """Map the feature map (N, C, H, W) of a section to a feature (N, D) and logits (N, K)."""
        feature = self.gap(self.convolve(x)).flatten(1)
        return ExitOutput(feature, self.fc(feature))


class BottleneckHead(PooledHead):
    """The exit head of the paper (figure 2): a bottleneck, pooling and a linear classifier.

    The bottleneck (1 x 1, k x k and 1 x 1 convolutions, each with batch norm and ReLU) maps the
    feature map of a section to the shape of the deepest one: its middle convolution has kernel and
    stride ``downsample``. As the kernels do not overlap, it costs a few percent of the network.

    Args:
        in_channels (int): Channels of the section's feature map.
        out_channels (int): Channels of the deepest feature, D.
        num_classes (int): Number of classes, K.
        downsample (int): Size of the section's feature map divided by that of the deepest one.
            Defaults to 1.
        reduction (int): The middle of the bottleneck has ``out_channels // reduction`` channels,
            but at most ``in_channels``. Defaults to 4.
        out_act_cfg (dict, optional): Activation after the last convolution. Set None if the deepest
            feature has negative values, as after a layer norm, so that the hint loss can reach
            zero. Defaults to ``dict(type='ReLU')``.

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
        out_act_cfg: Optional[dict] = dict(type='ReLU'),
    ) -> None:
        super().__init__()
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
        # At the full size of the feature map, more channels than in_channels would be expensive.
        mid = min(in_channels, out_channels // reduction)
        # A 1 x 1 kernel would have no context.
        kernel, padding = (downsample, 0) if downsample > 1 else (3, 1)
        self.bottleneck = nn.Sequential(
            ConvBlock(in_channels, mid, 1),
            ConvBlock(mid, mid, kernel, downsample, padding),
            ConvBlock(mid, out_channels, 1, act_cfg=out_act_cfg),
        )
        self.add_classifier(out_channels, num_classes)

    def convolve(self, x: Tensor) -> Tensor:
        return self.bottleneck(x)


class StridedHead(PooledHead):
    """Strided 3 x 3 convolutions, pooling and a linear classifier.

    Each convolution halves the size and has ``growth`` times the channels of the one before, until
    the size of the deepest feature map; a 1 x 1 convolution then gives its channels. About three
    times as expensive as :class:`BottleneckHead`, mostly at the shallow exits, and there more
    accurate: for networks that exit early.

    Args:
        growth (float | Sequence[float]): One number, or one for each strided convolution. Their
            channels are at most half of ``out_channels``. Defaults to 1.5.
        in_channels, out_channels, num_classes, out_act_cfg: As in :class:`BottleneckHead`.
        downsample (int): As in :class:`BottleneckHead`; if it is 1, one convolution keeps the size.

    Raises:
        ConfigError: A number is not positive, or ``growth`` does not have one for each strided
            convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_classes: int,
        downsample: int = 1,
        growth: Union[float, Sequence[float]] = 1.5,
        out_act_cfg: Optional[dict] = dict(type='ReLU'),
    ) -> None:
        super().__init__()
        halvings = math.ceil(math.log2(max(1, downsample)))
        count = max(1, halvings)
        factors = growth if isinstance(growth, Sequence) else [growth] * count
        if min(in_channels, out_channels, num_classes, downsample, *factors) <= 0:
            raise ConfigError(
                f'StridedHead(in_channels={in_channels}, out_channels={out_channels}, '
                f'num_classes={num_classes}, downsample={downsample}, growth={growth}): all must '
                'be positive'
            )
        if len(factors) != count:
            raise ConfigError(
                f'StridedHead(growth={growth}): this head has {count} strided convolutions; give '
                'one number for each, or one for all'
            )
        stride, widest = 2 if halvings else 1, max(1, out_channels // 2)
        total, before = 1.0, in_channels
        self.convs = nn.Sequential()
        for factor in factors:
            total *= factor
            width = max(1, min(widest, round(in_channels * total)))
            self.convs.append(ConvBlock(before, width, 3, stride, padding=1))
            before = width
        self.expand = ConvBlock(before, out_channels, 1, act_cfg=out_act_cfg)
        self.add_classifier(out_channels, num_classes)

    def convolve(self, x: Tensor) -> Tensor:
        return self.expand(self.convs(x))


def fitting_shapes(
    head: Callable, in_channels: int, out_channels: int, num_classes: int, downsample: int
) -> Dict[str, int]:
    """Those of the shapes that the constructor of an exit head takes, by its names for them.

    They are those of :class:`BottleneckHead`.
    """
    shapes = dict(
        in_channels=in_channels,
        in_channel=in_channels,  # of MMRazor's heads
        out_channels=out_channels,
        out_channel=out_channels,
        num_classes=num_classes,
        downsample=downsample,
    )
    parameters = inspect.signature(head).parameters
    return {name: value for name, value in shapes.items() if name in parameters}
