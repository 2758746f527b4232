"""ResNet for CIFAR with the feature maps that MMRazor's BYOT uses."""

from typing import Any, Tuple

from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock
from torch import Tensor

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS


@MODELS.register_module()
class MidBlockResNet_CIFAR(ResNet_CIFAR):
    """``ResNet_CIFAR`` with the shallow feature maps of MMRazor's BYOT.

    MMRazor records the output of ``layer1.1.relu`` and uses the first record. That module runs
    twice in a block, so the first record is not the output of the section but the middle of its
    last block, after conv, norm and ReLU. MMRazor's published exit heads were trained on these. The
    weights, their names and the deepest map are those of ``ResNet_CIFAR``.

    Args:
        depth (int): 18 or 34, the depths with basic blocks.
        **kwargs: As in ``ResNet_CIFAR``.

    Raises:
        ConfigError: The depth is not 18 or 34.
    """

    #: The type in mmpretrain that computes the same deepest map.
    plain_type = 'ResNet_CIFAR'

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(depth, **kwargs)
        if self.block is not BasicBlock:
            raise ConfigError(f'{type(self).__name__}(depth={depth}): only 18 and 34 are possible')

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Maps (N, C_i, H_i, W_i) of the chosen stages for images (N, 3, H, W)."""
        x = self.relu(self.norm1(self.conv1(x)))
        outs = []
        for i in range(max(self.out_indices) + 1):
            *blocks, last = getattr(self, self.res_layers[i])
            for block in blocks:
                x = block(x)
            if i == self.num_stages - 1:
                outs.append(last(x))
                break
            middle = last.relu(last.norm1(last.conv1(x)))
            if i in self.out_indices:
                outs.append(middle)
            if i == max(self.out_indices):
                break
            # The rest of mmpretrain's BasicBlock.
            shortcut = x if last.downsample is None else last.downsample(x)
            x = last.drop_path(last.norm2(last.conv2(middle)))
            x = last.relu(x + shortcut)
        return tuple(outs)
