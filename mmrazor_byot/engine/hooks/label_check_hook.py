"""Checks that data sets, metrics and network have the same classes."""

from typing import Any, List, Optional, Sequence, Set, Tuple

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmrazor_byot.datasets import check_class_names, check_data, check_range
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.models.loading import dataset_meta
from mmrazor_byot.registry import HOOKS

from .utils import is_training, unwrap


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Compares what a runner was built with before the first step.

    Data sets, metrics, data preprocessor and network must have the same classes, in the same order;
    see :func:`~mmrazor_byot.datasets.check_data`. Labels that are not in memory are checked batch
    by batch in the first epoch, unless they are on the GPU, which is never waited for.

    Raises:
        ConfigError: Number of classes, ``topk`` or ``batch_size`` do not fit each other.
        DatasetError: Classes have other names, a label is not one of them, or an image has scores
            that are not probabilities.
    """

    def __init__(self) -> None:
        self._labels_done: Set[str] = set()  # modes whose labels have all been checked
        self._done: Set[str] = set()

    def before_run(self, runner: Runner) -> None:
        """Check what the loops have been built with."""
        model = unwrap(runner.model)
        num_classes = _num_classes(model)
        trained = None
        for mode, loop in _loops(runner):
            name = f'{mode}_dataloader'
            if check_data(loop.dataloader, name, num_classes, trained, 'train_dataloader'):
                self._labels_done.add(mode)
            if mode == 'train':
                trained = _classes(loop)
                _check_preprocessor(getattr(model, 'data_preprocessor', None), num_classes)
            elif num_classes:
                _check_topk(loop.evaluator.metrics, f'{mode}_evaluator', num_classes)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare with the classes that the weights were trained on, unless they are fine-tuned."""
        trained = dataset_meta(checkpoint.get('meta')).get('classes')
        if trained and (runner._resume or not is_training(runner)):
            for mode, loop in _loops(runner):
                if classes := _classes(loop):
                    check_class_names(classes, f'{mode}_dataloader', trained, 'the checkpoint')

    def _before_iter(
        self, runner: Runner, batch_idx: int, data_batch: Optional[dict] = None, mode: str = 'train'
    ) -> None:
        if mode in self._done or not isinstance(data_batch, dict):
            return
        model, samples = unwrap(runner.model), data_batch.get('data_samples')
        labels = None if mode in self._labels_done else _on_cpu(samples, 'gt_label')
        num_classes = _num_classes(model)
        if labels is not None and num_classes:
            check_range(labels, num_classes, f'{mode}_dataloader')
        scores = _on_cpu(samples, 'gt_score')
        if scores is not None and hasattr(model, 'num_exits'):
            _check_probabilities(scores, f'{mode}_dataloader')

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        self._done.add(mode)


def _loops(runner: Runner) -> List[Tuple[str, Any]]:
    """The loops that have been built, training first."""
    loops = [(mode, getattr(runner, f'_{mode}_loop', None)) for mode in ('train', 'val', 'test')]
    return [(mode, loop) for mode, loop in loops if hasattr(loop, 'dataloader')]


def _classes(loop: Any) -> Optional[Sequence[str]]:
    return getattr(loop.dataloader.dataset, 'metainfo', {}).get('classes')


def _num_classes(model: nn.Module) -> Optional[int]:
    owner = model if hasattr(model, 'num_classes') else getattr(model, 'head', None)
    return getattr(owner, 'num_classes', None)


def _check_topk(metrics: Sequence[Any], name: str, num_classes: int) -> None:
    for metric in metrics:
        topk = getattr(metric, 'topk', None)
        if isinstance(topk, tuple) and max(topk) > num_classes:
            fitting = tuple(k for k in topk if k <= num_classes) or (1,)
            raise ConfigError(
                f'{name}: {type(metric).__name__} has topk={topk}, but there are only '
                f'{num_classes} classes: set topk={fitting}'
            )


def _check_preprocessor(preprocessor: Any, num_classes: Optional[int]) -> None:
    if num_classes and getattr(preprocessor, 'to_onehot', False):
        found = preprocessor.num_classes
        if found != num_classes:
            raise ConfigError(
                f'data_preprocessor has num_classes={found}, but the head has {num_classes} '
                f'classes, which Mixup and CutMix mix: set num_classes={num_classes} there'
            )


def _check_probabilities(scores: Tensor, name: str) -> None:
    total = scores.sum(dim=-1)
    wrong = ((total - 1).abs() > 1e-3) | (scores < 0).any(dim=-1)
    if wrong.any():
        raise DatasetError(
            f'{name} has an image whose scores (gt_score) sum to {total[wrong][0]:.4g}: exits are '
            'trained on one class an image, or on probabilities that sum to 1, not on several '
            'labels'
        )


def _on_cpu(samples: Any, field: str) -> Optional[Tensor]:
    """A field of ``BatchSamples`` or a list of ``DataSample``, if they have it and it is there."""
    values = getattr(samples, field, None)  # of BatchSamples
    if values is None and isinstance(samples, Sequence) and samples and field in samples[0]:
        values = [getattr(sample, field) for sample in samples]
        values = torch.cat(values) if field == 'gt_label' else torch.stack(values)
    return None if values is None or values.is_cuda else values
