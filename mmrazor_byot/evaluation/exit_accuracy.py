"""Accuracy of every exit and of their ensemble."""

from typing import Any, Dict, List, Sequence, Union

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import METRICS
from mmrazor_byot.structures import BatchSamples

from .finite import check_answers


def label_ranks(scores: Tensor, labels: Tensor, depth: int) -> Tensor:
    """How many of the scores (N, ..., K) are higher than that of the label (N,): ranks (N, ...).

    A rank is ``depth``, 1 to K, if the label is not among the first ``depth``, and ``depth + 1`` if
    a score is NaN.
    """
    best = scores.topk(depth, dim=-1).indices
    right = best == labels.reshape(-1, *[1] * (scores.ndim - 1))
    rank = torch.where(right.any(-1), right.int().argmax(-1), depth)
    return rank.masked_fill(scores.isnan().any(-1), depth + 1)


@METRICS.register_module()
class ExitAccuracy(BaseMetric):
    """Top-k accuracy in percent of each exit and of the ensemble.

    The ensemble is the mean of all exits' softmax. The metrics are ``exit1/top1`` to
    ``exitC/top5``, ``ensemble/top1``, and ``accuracy/top1`` for the deepest exit, as in mmpretrain.
    A network without exits has ``accuracy/...`` alone.

    Ranks stay on the device of the scores until all images are processed.

    Args:
        topk (int | Sequence[int]): Values of k. Defaults to (1, 5).
        **kwargs: See ``BaseMetric``.

    Raises:
        ConfigError: A k is less than 1 or more than the number of classes.
        NonFiniteOutputError: An exit answers with NaN.
    """

    default_prefix = ''
    takes_batches = True  # see BatchEvaluator
    results: list

    def __init__(self, topk: Union[int, Sequence[int]] = (1, 5), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        if not self.topk or min(self.topk) < 1:
            raise ConfigError(f'ExitAccuracy(topk={topk}): must be positive')

    def process(self, data_batch: Any, data_samples: Union[BatchSamples, Sequence[dict]]) -> None:
        """Compute the ranks of a batch.

        Each sample has ``gt_label``, and ``exit_scores`` (C, K) or only ``pred_score`` (K,).
        """
        if isinstance(data_samples, BatchSamples):
            with_exits = data_samples.has('exit_scores')
            scores = data_samples.exit_scores if with_exits else data_samples.pred_score
            labels = data_samples.gt_label
        else:
            key = 'exit_scores' if 'exit_scores' in data_samples[0] else 'pred_score'
            scores = torch.stack([sample[key] for sample in data_samples])
            labels = torch.cat([sample['gt_label'] for sample in data_samples])
            if any(len(sample['gt_label']) != 1 for sample in data_samples):
                raise DatasetError('ExitAccuracy needs one label an image; an image has several')
        if max(self.topk) > scores.shape[-1]:
            raise ConfigError(
                f'ExitAccuracy(topk={self.topk}): there are only {scores.shape[-1]} classes; '
                'change topk of val_evaluator and test_evaluator'
            )
        if scores.ndim == 3:
            scores = torch.cat([scores, scores.mean(dim=1, keepdim=True)], dim=1)
        ranks = label_ranks(scores, labels.to(scores.device), max(self.topk))
        self.results.append(ranks.reshape(len(labels), -1))  # (N, C + 1) or (N, 1)

    def evaluate(self, size: int) -> Dict[str, float]:
        """Metrics of all processes on the ``size`` images of the data set."""
        # BaseMetric gathers one result per image.
        self.results = torch.cat(self.results).tolist() if self.results else []
        return super().evaluate(size)

    def compute_metrics(self, results: List[List[int]]) -> Dict[str, float]:
        """Metrics from each image's ranks at exit 1 to C and of the ensemble."""
        ranks = torch.tensor(results)
        check_answers(ranks > max(self.topk))  # the ensemble comes last
        *exits, last = range(ranks.shape[1])
        columns = {f'exit{i + 1}': i for i in exits}
        if exits:
            columns['ensemble'] = last
        columns['accuracy'] = exits[-1] if exits else last
        return {
            f'{name}/top{k}': (ranks[:, column] < k).double().mean().item() * 100
            for name, column in columns.items()
            for k in self.topk
        }
