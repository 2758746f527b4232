"""What a network with exits answers."""

from typing import List, Optional, Tuple, Union

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.structures import BatchSamples

Samples = Union[BatchSamples, List[DataSample]]


class ExitAnswers(BaseModel):
    """``predict`` from the logits of all exits, as ``predict_with`` says.

    Subclasses have ``num_exits``, ``predict_with`` and ``_forward``.
    """

    def _predict(self, inputs: Tensor, data_samples: Optional[Samples] = None) -> Samples:
        """Classify images.

        Args:
            inputs (Tensor): Preprocessed images, (N, 3, H, W).
            data_samples (BatchSamples | list[DataSample], optional): To fill in.

        Returns:
            BatchSamples | list[DataSample]: Each with ``pred_score`` (K,) and ``pred_label`` as
            ``predict_with`` says, and ``exit_scores`` (C, K), the softmax of every exit.
        """
        logits = torch.stack(self._forward(inputs), dim=1)
        exit_scores = logits.float().softmax(dim=-1)
        scores = self._answer(exit_scores)
        labels = scores.argmax(dim=1, keepdim=True)
        if isinstance(data_samples, BatchSamples):
            return data_samples.set_fields(
                pred_score=scores, pred_label=labels[:, 0], exit_scores=exit_scores
            )
        if data_samples is None:
            data_samples = [DataSample() for _ in range(len(scores))]
        for sample, score, label, all_scores in zip(data_samples, scores, labels, exit_scores):
            sample.set_pred_score(score).set_pred_label(label)
            sample.set_field(all_scores, 'exit_scores')
        return data_samples

    def _forward(self, inputs: Tensor) -> Tuple[Tensor, ...]:
        """The logits (N, K) of exit 1 to C."""
        raise NotImplementedError

    def _answer(self, exit_scores: Tensor) -> Tensor:
        """Scores (N, K) to answer with, from those of all exits (N, C, K)."""
        if self.predict_with == 'ensemble':
            return exit_scores.mean(dim=1)
        if self.predict_with == 'deepest':
            return exit_scores[:, -1]
        return exit_scores[:, self.predict_with - 1]

    def _checked_answer(self, predict_with: Union[str, int]):
        answers = ['deepest', 'ensemble', *range(1, self.num_exits + 1)]
        if predict_with not in answers:
            raise ConfigError(f'predict_with={predict_with!r}: choose from {answers}')
        return predict_with
