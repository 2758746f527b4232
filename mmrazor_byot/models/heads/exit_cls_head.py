"""An exit as the head of a plain classifier."""

from typing import Tuple

from mmpretrain.models.heads import ClsHead
from torch import Tensor

from mmrazor_byot.registry import MODELS


@MODELS.register_module()
class ExitClsHead(ClsHead):
    """An exit head of BYOT as the head of mmpretrain's ``ImageClassifier``.

    So a network that was cut behind an exit is a plain classifier, which mmpretrain tests, serves
    and trains further.

    Args:
        exit_head (dict): Config of the exit head, all numbers given. Called with a feature map (N,
            C, H, W), it returns a feature (N, D) and logits (N, K).
        num_classes (int): Classes, K.
        **kwargs: ``loss``, ``topk``, ``cal_acc`` and ``init_cfg``, as in ``ClsHead``.
    """

    def __init__(self, exit_head: dict, num_classes: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.exit_head = MODELS.build(exit_head)

    def pre_logits(self, feats: Tuple[Tensor, ...]) -> Tensor:
        """The feature (N, D) that the classifier sees.

        Args:
            feats (tuple[Tensor]): Feature maps; the last one is taken.
        """
        return self.exit_head(feats[-1])[0]

    def forward(self, feats: Tuple[Tensor, ...]) -> Tensor:
        """The logits (N, K).

        Args:
            feats (tuple[Tensor]): Feature maps; the last one is taken.
        """
        return self.exit_head(feats[-1])[1]
