"""Deep pyramidal residual networks for CIFAR (arXiv 1610.02915)."""

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_conv_layer, build_norm_layer
from torch import nn

from mmrazor_byot.registry import MODELS

from .preact_backbone import NUM_STAGES, PreActBackbone, blocks_per_stage

STEM_WIDTH = 16


def additive_widths(alpha: float, num_blocks: int) -> list[int]:
    """Widths D_k of the N blocks, each alpha / N wider than the one before (Sec. 2.1).

    The sum is rounded only at the end, as in the authors' code. The paper's formula floors at every
    step, so widths would not grow at all for alpha < N. The last width is ``16 + alpha``.
    """
    return [int(STEM_WIDTH + alpha * k / num_blocks + 0.5) for k in range(1, num_blocks + 1)]


class PyramidBlock(nn.Module):
    """Pyramidal residual unit: without the first ReLU, with a BN at the end (Fig. 6d).

    Basic: BN, 3x3 conv, BN, ReLU, 3x3 conv, BN. Bottleneck: BN, 1x1 conv, BN, ReLU, 3x3 conv, BN,
    ReLU, 1x1 conv to four times the width, BN. The shortcut has no parameters: average pooling
    if the size halves, and zero padding of the channels (Sec. 3).
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        bottleneck: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict = dict(type='BN'),
    ) -> None:
        super().__init__()
        # One (out channels, kernel, stride) for each conv.
        if bottleneck:
            convs = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
        else:
            convs = [(width, 3, stride), (width, 3, 1)]
        last = in_channels
        layers = [build_norm_layer(norm_cfg, last)[1]]
        for i, (out, kernel, step) in enumerate(convs):
            if i > 0:
                layers.append(nn.ReLU())
            layers += [
                build_conv_layer(conv_cfg, last, out, kernel, step, kernel // 2, bias=False),
                build_norm_layer(norm_cfg, out)[1],
            ]
            last = out
        self.residual = nn.Sequential(*layers)
        # With ceil_mode, odd sizes give as many pixels as the strided conv.
        self.pool = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else None
        self.out_channels = last
        self.missing_channels = last - in_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        shortcut = x if self.pool is None else self.pool(x)
        if self.missing_channels:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.missing_channels))
        return self.residual(x) + shortcut


@MODELS.register_module()
class PyramidNet_CIFAR(PreActBackbone):
    """Additive PyramidNet for 32 x 32 images (Sec. 2, Table 1).

    A 3x3 conv to 16 channels with BN, three stages of n blocks whose width grows at every block,
    and a final BN + ReLU, which is part of the last stage.

    **PyramidNet101-240 of BYOT's tables** is taken to be ``depth=101, alpha=240, bottleneck=True``:
    101 = 9 x 11 + 2 is possible with bottlenecks only, and 240 is the alpha of the paper's
    200-layer bottleneck network. The paper uses the four stages of ResNet-101 for ImageNet only.
    BYOT's authors published no code for it.

    **Parameters.** The whole classifier for 10 classes has 28,485,477 at 110/270 and 27,216,021 at
    164/270. The paper prints 28.3 M, the number of the multiplicative network, and 27.0 M, that of
    the convolutions alone.

    Args:
        depth (int): 6n + 2 with basic blocks, 9n + 2 with bottlenecks.
        alpha (float): Widening factor, channels gained over all blocks.
        bottleneck (bool): Use bottleneck blocks, whose output is four times as wide. Default:
            False.
        in_channels (int): Channels of the image. Default: 3.
        conv_cfg (dict, optional): Config of conv layers. Default: None.
        norm_cfg (dict): Config of norm layers. Default: ``dict(type='BN')``.
        **kwargs: ``out_indices``, ``frozen_stages``, ``norm_eval`` and ``init_cfg``, as in
            :class:`PreActBackbone`.

    Raises:
        ValueError: ``depth`` does not fit the blocks, ``alpha`` is not positive, or a stage number
            is out of range.

    Example:
        >>> net = PyramidNet_CIFAR(110, 270, out_indices=(0, 1, 2))
        >>> [tuple(f.shape) for f in net(torch.rand(1, 3, 32, 32))]
        [(1, 106, 32, 32), (1, 196, 16, 16), (1, 286, 8, 8)]
    """

    def __init__(
        self,
        depth: int,
        alpha: float,
        bottleneck: bool = False,
        in_channels: int = 3,
        conv_cfg: dict | None = None,
        norm_cfg: dict = dict(type='BN'),
        **kwargs: Any,
    ) -> None:
        kind, convs = ('bottleneck', 3) if bottleneck else ('basic', 2)
        num_blocks = blocks_per_stage(f'PyramidNet_CIFAR with {kind} blocks', depth, convs, (2,))
        if alpha <= 0:
            raise ValueError(f'alpha must be positive, got {alpha}')
        stem = nn.Sequential(
            OrderedDict(
                conv=build_conv_layer(conv_cfg, in_channels, STEM_WIDTH, 3, padding=1, bias=False),
                norm=build_norm_layer(norm_cfg, STEM_WIDTH)[1],
            )
        )
        blocks: list[PyramidBlock] = []
        last = STEM_WIDTH
        widths = additive_widths(alpha, NUM_STAGES * num_blocks)
        for k, width in enumerate(widths):
            stride = 2 if k in (num_blocks, 2 * num_blocks) else 1
            blocks.append(PyramidBlock(last, width, stride, bottleneck, conv_cfg, norm_cfg))
            last = blocks[-1].out_channels
        stages = [
            nn.Sequential(*blocks[i * num_blocks : (i + 1) * num_blocks]) for i in range(NUM_STAGES)
        ]
        super().__init__(stem, stages, last, norm_cfg, **kwargs)
