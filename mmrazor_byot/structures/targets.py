"""What the samples of a batch are to be taken for."""

from typing import Sequence

from mmpretrain.structures import DataSample
from torch import Tensor

from .batch_samples import BatchSamples


def stack_targets(data_samples: Sequence[DataSample]) -> Tensor:
    """Labels of a batch, as the losses take them.

    Args:
        data_samples (BatchSamples | Sequence[DataSample]): N samples with ``gt_label``, or with
            ``gt_score`` where a batch augmentation mixed the labels.

    Returns:
        Tensor: Class indices (N,), or class probabilities (N, K).
    """
    samples = BatchSamples.of(data_samples)
    return samples.gt_score if samples.has('gt_score') else samples.gt_label
