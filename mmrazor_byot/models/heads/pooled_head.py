"""What the exit heads of this package have in common."""

from typing import Optional, Sequence, Union

from mmengine.model import BaseModule
from torch import Tensor, nn

from ..exits import ExitOutput

#: Kaiming for convolutions and N(0, 0.01) for the classifier, as in mmpretrain's ``ResNet`` and
#: ``LinearClsHead``.
INIT_CFG = (
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', layer='BatchNorm2d', val=1),
    dict(type='Normal', layer='Linear', std=0.01),
)


class PooledHead(BaseModule):
    """Convolutions, global average pooling and a linear classifier.

    Subclasses write :meth:`convolve`, and end their constructor with :meth:`add_classifier`.

    Args:
        init_cfg (dict | Sequence[dict], optional): Initialization.
    """

    def __init__(self, init_cfg: Optional[Union[dict, Sequence[dict]]]) -> None:
        super().__init__(list(init_cfg) if isinstance(init_cfg, tuple) else init_cfg)

    def add_classifier(self, out_channels: int, num_classes: int) -> None:
        """Add what follows the convolutions.

        Args:
            out_channels (int): Channels that they give, D.
            num_classes (int): Classes, K.
        """
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(out_channels, num_classes)

    def convolve(self, x: Tensor) -> Tensor:
        """Bring a section's feature map (N, C, H, W) to (N, D, h, w)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> ExitOutput:
        """Classify a section's feature map.

        Args:
            x (Tensor): Feature map, (N, C, H, W).

        Returns:
            ExitOutput: Feature (N, D) and logits (N, K).
        """
        feature = self.gap(self.convolve(x)).flatten(1)
        return ExitOutput(feature, self.fc(feature))
