"""Wide residual networks for CIFAR (arXiv 1605.07146)."""

from collections import OrderedDict
from typing import Any

import torch
from mmcv.cnn import build_conv_layer, build_norm_layer
from torch import nn

from mmrazor_byot.registry import MODELS

from .preact_backbone import NUM_STAGES, PreActBackbone, blocks_per_stage


class WideBasicBlock(nn.Module):
    """Block B(3,3) with pre-activation (Sec. 2, Fig. 1c and 1d).

    BN, ReLU, 3x3 conv, BN, ReLU, dropout, 3x3 conv, plus the shortcut. If the shape changes, the
    shortcut is a 1x1 conv of the input after the first BN + ReLU, as in the authors' code.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        drop_rate: float = 0.0,
        conv_cfg: dict | None = None,
        norm_cfg: dict = dict(type='BN'),
    ) -> None:
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, in_channels)[1]
        self.conv1 = build_conv_layer(conv_cfg, in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm2 = build_norm_layer(norm_cfg, out_channels)[1]
        self.conv2 = build_conv_layer(conv_cfg, out_channels, out_channels, 3, 1, 1, bias=False)
        self.shortcut = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = build_conv_layer(
                conv_cfg, in_channels, out_channels, 1, stride, bias=False
            )
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(drop_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        pre = self.relu(self.norm1(x))
        out = self.relu(self.norm2(self.conv1(pre)))
        out = self.conv2(self.dropout(out))
        return out + (x if self.shortcut is None else self.shortcut(pre))


@MODELS.register_module()
class WideResNet_CIFAR(PreActBackbone):
    """WRN-depth-k for 32 x 32 images (Sec. 2, Table 1).

    A 3x3 conv to 16 channels, three stages of n blocks with 16k, 32k and 64k channels, and a final
    BN + ReLU, which is part of the last stage.

    **Depth.** The WRN paper counts every convolution including the three 1x1 shortcuts, so depth =
    6n + 4 (16, 22, 28, 40). He et al. (arXiv 1512.03385, Sec. 4.2) count the layers on the main
    path and the classifier, so depth = 6n + 2 (20, 32, 44, 56). Both are accepted; no number fits
    both.

    BYOT's tables name WRN28-12, a network of the WRN paper, but also WRN20-8 and WRN44-8, which are
    not 6n + 4. These are taken to be He's networks with 8 times the width, n = 3 and n = 7, which
    the WRN paper would call WRN-22-8 and WRN-46-8; WRN-20-10 of arXiv 1802.08530 is counted in the
    same way. BYOT's authors published no code for these networks.

    Args:
        depth (int): 6n + 4 or 6n + 2, see above.
        widen_factor (int): k, how many times wider than ResNet.
        in_channels (int): Channels of the image. Default: 3.
        drop_rate (float): Dropout inside the blocks, Sec. 2.4. Default: 0.
        conv_cfg (dict, optional): Config of conv layers. Default: None.
        norm_cfg (dict): Config of norm layers. Default: ``dict(type='BN')``.
        **kwargs: ``out_indices``, ``frozen_stages``, ``norm_eval`` and ``init_cfg``, as in
            :class:`PreActBackbone`.

    Raises:
        ValueError: ``depth`` fits neither formula, ``widen_factor`` is less than 1, or a stage
            number is out of range.

    Example:
        >>> net = WideResNet_CIFAR(16, 8, out_indices=(0, 1, 2))
        >>> [tuple(f.shape) for f in net(torch.rand(1, 3, 32, 32))]
        [(1, 128, 32, 32), (1, 256, 16, 16), (1, 512, 8, 8)]
    """

    def __init__(
        self,
        depth: int,
        widen_factor: int,
        in_channels: int = 3,
        drop_rate: float = 0.0,
        conv_cfg: dict | None = None,
        norm_cfg: dict = dict(type='BN'),
        **kwargs: Any,
    ) -> None:
        num_blocks = blocks_per_stage('WideResNet_CIFAR', depth, 2, (4, 2))
        if widen_factor < 1:
            raise ValueError(f'widen_factor must be 1 or more, got {widen_factor}')
        stem = nn.Sequential(
            OrderedDict(conv=build_conv_layer(conv_cfg, in_channels, 16, 3, padding=1, bias=False))
        )
        stages, last = [], 16
        for i in range(NUM_STAGES):
            width = 16 * widen_factor * 2**i
            blocks = []
            for j in range(num_blocks):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(WideBasicBlock(last, width, stride, drop_rate, conv_cfg, norm_cfg))
                last = width
            stages.append(nn.Sequential(*blocks))
        super().__init__(stem, stages, last, norm_cfg, **kwargs)
