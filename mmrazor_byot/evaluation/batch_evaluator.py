"""An evaluator for batched data."""

from typing import Any, Optional, Sequence

from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement

from mmrazor_byot.registry import EVALUATOR
from mmrazor_byot.structures import BatchSamples


@EVALUATOR.register_module()
class BatchEvaluator(Evaluator):
    """MMEngine's evaluator, without a dict for every image.

    Metrics with ``takes_batches = True`` are given :class:`BatchSamples` as they are, others the
    usual list of dicts.

    Args:
        metrics (dict | Sequence[dict]): Configs of the metrics.

    Examples:
        >>> val_evaluator = dict(
        ...     type='mmrazor_byot.BatchEvaluator',
        ...     metrics=dict(type='mmrazor_byot.ExitAccuracy'))
    """

    def process(
        self, data_samples: Sequence[BaseDataElement], data_batch: Optional[Any] = None
    ) -> None:
        """Process a batch of predictions, :class:`BatchSamples` or a list of ``DataSample``."""
        others = []
        for metric in self.metrics:
            if isinstance(data_samples, BatchSamples) and getattr(metric, 'takes_batches', False):
                metric.process(data_batch, data_samples)
            else:
                others.append(metric)
        if others:
            Evaluator(others).process(data_samples, data_batch)
