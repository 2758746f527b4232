"""Heads for mmpretrain's ``ImageClassifier``."""

from typing import Any, Dict, List, Optional, Tuple, Union

from mmpretrain.models import LinearClsHead
from mmpretrain.models.heads import ClsHead
from mmpretrain.structures import DataSample
from torch import Tensor

from mmrazor_byot.registry import MODELS
from mmrazor_byot.structures import BatchSamples, stack_targets

Samples = Union[BatchSamples, List[DataSample]]


@MODELS.register_module()
class ExitClsHead(ClsHead):
    """An exit head of BYOT as the head of an ``ImageClassifier``.

    With it mmpretrain tests, deploys and fine-tunes a network that was cut after an exit.

    Args:
        exit_head (dict): Complete config of the exit head. Called with a feature map (N, C, H, W),
            it returns a feature (N, D) and logits (N, K).
        num_classes (int): Number of classes, K.
        **kwargs: ``loss``, ``topk``, ``cal_acc`` and ``init_cfg``, as in ``ClsHead``.
    """

    def __init__(self, exit_head: dict, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.exit_head = MODELS.build(exit_head)

    def pre_logits(self, feats: Tuple[Tensor, ...]) -> Tensor:
        """The feature (N, D) before the classifier, of the last feature map."""
        return self.exit_head(feats[-1])[0]

    def forward(self, feats: Tuple[Tensor, ...]) -> Tensor:
        """The logits (N, K) of the last feature map."""
        return self.exit_head(feats[-1])[1]


@MODELS.register_module()
class BatchLinearClsHead(LinearClsHead):
    """``LinearClsHead`` for BatchSamples.

    Networks without exits train with it without a Python loop over images; BYOT's heads do not need
    it. Lists of ``DataSample``, and ``cal_acc``, are left to mmpretrain's code.

    Args:
        *args, **kwargs: As in mmpretrain's ``LinearClsHead``.
    """

    def _get_loss(
        self, cls_score: Tensor, data_samples: Samples, **kwargs: Any
    ) -> Dict[str, Tensor]:
        """Compute the loss of logits (N, K)."""
        if self.cal_acc or not isinstance(data_samples, BatchSamples):
            return super()._get_loss(cls_score, data_samples, **kwargs)
        target = stack_targets(data_samples)
        return dict(loss=self.loss_module(cls_score, target, avg_factor=len(cls_score), **kwargs))

    def _get_predictions(self, cls_score: Tensor, data_samples: Optional[Samples]) -> Samples:
        """Store the predictions for logits (N, K) in the samples."""
        if not isinstance(data_samples, BatchSamples):
            return super()._get_predictions(cls_score, data_samples)
        scores = cls_score.softmax(dim=1)
        return data_samples.set_fields(pred_score=scores, pred_label=scores.argmax(dim=1))
