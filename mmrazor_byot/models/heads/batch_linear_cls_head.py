"""mmpretrain's linear head, for whole batches."""

from typing import Dict, List, Optional, Union

from mmpretrain.evaluation import Accuracy
from mmpretrain.models import LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS
from mmrazor_byot.structures import BatchSamples, stack_targets

Samples = Union[BatchSamples, List[DataSample]]


@MODELS.register_module()
class BatchLinearClsHead(LinearClsHead):
    """Computes what ``LinearClsHead`` does, and keeps BatchSamples whole.

    For plain networks, so that they too train without Python for single images; the heads of BYOT
    need it not. Lists of ``DataSample`` go mmpretrain's way.

    Args:
        *args, **kwargs: As in mmpretrain's ``LinearClsHead``.

    Raises:
        ConfigError: ``cal_acc`` and mixed labels.
    """

    def _get_loss(self, cls_score: Tensor, data_samples: Samples, **kwargs) -> Dict[str, Tensor]:
        """Losses of logits (N, K)."""
        if not isinstance(data_samples, BatchSamples):
            return super()._get_loss(cls_score, data_samples, **kwargs)
        target = stack_targets(data_samples)
        losses = dict(loss=self.loss_module(cls_score, target, avg_factor=len(cls_score), **kwargs))
        if self.cal_acc and target.ndim > 1:
            raise ConfigError(
                'BatchLinearClsHead(cal_acc=True): there is no accuracy on mixed labels; leave it '
                'out'
            )
        if self.cal_acc:
            accuracies = Accuracy.calculate(cls_score, target, topk=self.topk)
            losses.update(
                {f'accuracy_top-{k}': accuracy for k, accuracy in zip(self.topk, accuracies)}
            )
        return losses

    def _get_predictions(self, cls_score: Tensor, data_samples: Optional[Samples]) -> Samples:
        """Answers to logits (N, K)."""
        if not isinstance(data_samples, BatchSamples):
            return super()._get_predictions(cls_score, data_samples)
        scores = cls_score.softmax(dim=1)
        return data_samples.set_fields(pred_score=scores, pred_label=scores.argmax(dim=1).detach())
