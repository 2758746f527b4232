"""Checks that the labels fit the classes of the classifier."""

from typing import Optional, Sequence, Set

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.datasets import BaseDataset
from torch import Tensor

from mmrazor_byot.datasets import ImageBatches
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import HOOKS

from .utils import unwrap


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Compares the classes of head and data set, and checks all labels in the first epoch.

    On a GPU a label out of range is a device assert without the label. If a data set has its labels
    in memory, all are checked before the epoch; otherwise those of each batch, unless they are on
    the GPU, which is never waited for.

    Raises:
        ConfigError: Head and data set differ in the number of classes, or the data loader cannot
            read images that are on a GPU.
        DatasetError: A label is negative, or not below the number of classes.
    """

    def __init__(self) -> None:
        self._done: Set[str] = set()

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        if mode in self._done:
            return
        loader = getattr(runner, f'{mode}_dataloader')
        dataset = loader.dataset
        num_classes = _num_classes(runner)
        classes = getattr(dataset, 'metainfo', {}).get('classes')
        if num_classes and classes and len(classes) != num_classes:
            raise ConfigError(
                f'the head has {num_classes} classes, but the dataset of {mode}_dataloader has '
                f'{len(classes)}: set num_classes={len(classes)} of the head (and of '
                'data_preprocessor, if it is set there)'
            )
        if isinstance(dataset, ImageBatches):
            dataset.check_loader(loader)
        method = getattr(type(dataset), 'get_gt_labels', None)
        # mmpretrain's default unpickles every sample.
        if method not in (None, BaseDataset.get_gt_labels):
            _check_labels(torch.as_tensor(dataset.get_gt_labels()), num_classes, mode)
            self._done.add(mode)

    def _before_iter(
        self, runner: Runner, batch_idx: int, data_batch: Optional[dict] = None, mode: str = 'train'
    ) -> None:
        if mode not in self._done:
            labels = _batch_labels(data_batch)
            if labels is not None and not labels.is_cuda:
                _check_labels(labels, _num_classes(runner), mode)

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        self._done.add(mode)


def _batch_labels(data_batch: Optional[dict]) -> Optional[Tensor]:
    """Labels of a batch of ``DataSample`` or ``BatchSamples``, (N,), if it has any."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    labels = getattr(samples, 'gt_label', None)  # of BatchSamples
    if labels is None and isinstance(samples, Sequence) and samples and 'gt_label' in samples[0]:
        labels = torch.cat([sample.gt_label for sample in samples])
    return labels


def _check_labels(labels: Tensor, num_classes: Optional[int], mode: str) -> None:
    if num_classes is None:
        return
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise DatasetError(
            f'the {mode} data has the label {int(wrong[0])}, but the head has {num_classes} '
            f'classes, 0 to {num_classes - 1}: correct the labels, or set num_classes of the head'
        )


def _num_classes(runner: Runner) -> Optional[int]:
    model = unwrap(runner.model)
    owner = model if hasattr(model, 'num_classes') else getattr(model, 'head', None)
    return getattr(owner, 'num_classes', None)
