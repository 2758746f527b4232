"""Base of the CIFAR networks of three stages with n equal blocks each."""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_norm_layer
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import nn

NUM_STAGES = 3
# As in the code of the authors of both Wide ResNet and PyramidNet.
KAIMING_INIT: list[dict] = [
    dict(type='Kaiming', layer=['Conv2d']),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


def blocks_per_stage(name: str, depth: int, convs: int, offsets: Sequence[int]) -> int:
    """The number n of blocks in a stage, from ``depth = 3 * convs * n + offset``.

    A block has ``convs`` layers. ``offsets`` are the numbers of layers outside the blocks, one for
    each way of counting them. ValueError if no whole n >= 1 fits.
    """
    per_n = NUM_STAGES * convs
    for offset in offsets:
        n, rest = divmod(depth - offset, per_n)
        if n >= 1 and rest == 0:
            return n
    formulas = ' or '.join(
        f'{per_n}n + {k} ({per_n + k}, {2 * per_n + k}, {3 * per_n + k}, ...)' for k in offsets
    )
    raise ValueError(f'{name} takes depths {formulas}, got {depth}')


def check_stages(out_indices: Sequence[int], frozen_stages: int) -> None:
    """Raise ValueError for stage numbers that the network does not have."""
    if not out_indices or any(i not in range(NUM_STAGES) for i in out_indices):
        raise ValueError(f'out_indices must hold some of the stages 0, 1, 2, got {out_indices}')
    if frozen_stages not in range(-1, NUM_STAGES + 1):
        raise ValueError(f'frozen_stages must be from -1 (none) to 3 (all), got {frozen_stages}')


class PreActBackbone(BaseBackbone):
    """A stem, three stages, and a final BN + ReLU.

    Blocks with pre-activation end in a sum, so such a network needs one more BN + ReLU before
    pooling. Both are part of the last stage here; the feature maps of the other stages are the raw
    sums. No operation works in place.

    Args:
        stem (nn.Module): From the image to the first stage.
        stages (Sequence[nn.Sequential]): The three stages.
        feat_dim (int): Output channels of the last stage.
        norm_cfg (dict): Config of the final norm layer.
        out_indices (Sequence[int]): Stages whose maps are returned, from 0. Default: ``(2, )``.
        frozen_stages (int): -1 freezes nothing, 0 the stem, i > 0 the stem and the first i stages
            (no gradient, eval mode). Default: -1.
        norm_eval (bool): Keep all BN layers in eval mode while training. Default: False.
        init_cfg (dict | list[dict], optional): Initialization config. Default: Kaiming over the
            fan out.

    Raises:
        ValueError: ``out_indices`` or ``frozen_stages`` name a stage that does not exist.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Sequential],
        feat_dim: int,
        norm_cfg: dict,
        out_indices: Sequence[int] = (NUM_STAGES - 1,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = KAIMING_INIT,
    ) -> None:
        super().__init__(init_cfg)
        check_stages(out_indices, frozen_stages)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.feat_dim = feat_dim
        stages[-1].add_module('norm', build_norm_layer(norm_cfg, feat_dim)[1])
        stages[-1].add_module('relu', nn.ReLU())
        self.stem = stem
        self.layer1, self.layer2, self.layer3 = stages
        self._freeze_stages()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Maps (N, C_i, H_i, W_i) of the chosen stages for images (N, C, H, W).

        The shallowest comes first. The stages have the image's size, a half and a quarter of it.
        """
        x = self.stem(x)
        outs = []
        for i, stage in enumerate((self.layer1, self.layer2, self.layer3)):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def _freeze_stages(self) -> None:
        parts = (self.stem, self.layer1, self.layer2, self.layer3)
        for part in parts[: self.frozen_stages + 1]:
            part.eval()
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> 'PreActBackbone':
        """Set the mode; frozen parts stay in eval mode."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
