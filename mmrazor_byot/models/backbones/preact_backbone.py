"""What the pre-activation networks for CIFAR have in common."""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_norm_layer
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import nn

from .cifar_stages import check_stages

# He initialization over the fan out, as in the authors' code of both papers.
KAIMING_INIT = [
    dict(type='Kaiming', layer=['Conv2d']),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


class PreActBackbone(BaseBackbone):
    """A stem, three stages, and the BN + ReLU that closes the last one.

    Blocks with pre-activation end in a bare sum, so such a network needs one more BN + ReLU before
    pooling. Both belong to the last stage here: its feature map is normalized and rectified, those
    of the stages before it are the raw outputs of their last block. No operation works in place.

    Args:
        stem (nn.Module): From the image to the first stage.
        stages (Sequence[nn.Sequential]): The three stages.
        stage_channels (Sequence[int]): Output channels of each stage.
        out_indices (Sequence[int]): Stages to return, from 0.
        frozen_stages (int): -1 freezes nothing, 0 the stem, i > 0 the stem and the first i stages
            (no gradient, eval mode).
        norm_cfg (dict): Config of the closing norm layer.
        norm_eval (bool): Keep all BN layers in eval mode while training.
        init_cfg (dict | list[dict], optional): Initialization config.

    Raises:
        ValueError: If ``out_indices`` or ``frozen_stages`` name a stage that is not there.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Sequential],
        stage_channels: Sequence[int],
        out_indices: Sequence[int],
        frozen_stages: int,
        norm_cfg: dict,
        norm_eval: bool,
        init_cfg,
    ) -> None:
        super().__init__(init_cfg)
        check_stages(out_indices, frozen_stages)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.stage_channels = tuple(stage_channels)
        self.feat_dim = self.stage_channels[-1]

        stages[-1].add_module('norm', build_norm_layer(norm_cfg, self.feat_dim)[1])
        stages[-1].add_module('relu', nn.ReLU())
        self.stem = stem
        self.layer1, self.layer2, self.layer3 = stages
        self._freeze_stages()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the feature maps of the chosen stages.

        Args:
            x (torch.Tensor): Images of shape (N, C, H, W).

        Returns:
            tuple[torch.Tensor]: One map of shape (N, C_i, H_i, W_i) for each of ``out_indices``,
            shallowest first; the stages have the image's size, a half and a quarter of it.
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
            for param in part.parameters():
                param.requires_grad = False

    def train(self, mode: bool = True) -> 'PreActBackbone':
        """Switch between training and testing; frozen parts stay in eval.

        Args:
            mode (bool): Whether to train.

        Returns:
            PreActBackbone: Itself, as ``nn.Module.train`` does.
        """
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
