"""Labels and classifier must speak of the same classes."""

from typing import Optional, Sequence

import torch
from mmengine.hooks import Hook
from mmpretrain.datasets import BaseDataset
from torch import Tensor

from mmrazor_byot.datasets import ImageBatches
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import HOOKS

from .unwrap import unwrap


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Compares the classes of head and data set, and looks at every label.

    On a GPU a label out of range is a device assert that names nothing. A data set that has its
    labels in memory is asked for all of them before its first pass. The labels of another are
    looked at batch by batch in that pass, as long as they are in main memory: a GPU is never waited
    for.
    """

    def __init__(self) -> None:
        self._done = set()

    def before_train(self, runner) -> None:
        """Compare with the training set."""
        self._compare(runner, runner.train_dataloader, 'train')

    def before_val(self, runner) -> None:
        """Compare with the validation set."""
        self._compare(runner, runner.val_dataloader, 'val')

    def before_test(self, runner) -> None:
        """Compare with the test set."""
        self._compare(runner, runner.test_dataloader, 'test')

    def _compare(self, runner, dataloader, mode: str) -> None:
        num_classes = _num_classes(runner)
        dataset = dataloader.dataset
        classes = getattr(dataset, 'metainfo', {}).get('classes')
        if num_classes and classes and len(classes) != num_classes:
            raise ConfigError(
                f'the head has {num_classes} classes, but the dataset of {mode}_dataloader has '
                f'{len(classes)}: set num_classes={len(classes)} of the head (and of '
                'data_preprocessor, if it is set there)'
            )
        if isinstance(dataset, ImageBatches):
            dataset.check_loader(dataloader)
        own = getattr(type(dataset), 'get_gt_labels', None)
        # mmpretrain's default would unpickle every sample to answer.
        if mode not in self._done and own not in (None, BaseDataset.get_gt_labels):
            labels = torch.as_tensor(dataset.get_gt_labels())
            check_labels(labels, num_classes, mode)
            self._done.add(mode)

    def _before_iter(
        self, runner, batch_idx: int, data_batch: Optional[dict] = None, mode: str = 'train'
    ) -> None:
        if mode not in self._done:
            labels = batch_labels(data_batch)
            if labels is not None and not labels.is_cuda:
                check_labels(labels, _num_classes(runner), mode)

    def _after_epoch(self, runner, mode: str = 'train') -> None:
        self._done.add(mode)


def batch_labels(data_batch: Optional[dict]) -> Optional[Tensor]:
    """All labels of a batch, (N,), if it has any.

    Args:
        data_batch (dict, optional): With ``data_samples``: ``DataSample`` or ``BatchSamples``.
    """
    if not isinstance(data_batch, dict):
        return None
    samples = data_batch.get('data_samples')
    if isinstance(getattr(samples, 'gt_label', None), Tensor):
        return samples.gt_label  # one tensor for all
    if not isinstance(samples, Sequence) or not samples:
        return None
    if 'gt_label' not in samples[0]:
        return None
    return torch.cat([sample.gt_label for sample in samples])


def check_labels(labels: Tensor, num_classes: Optional[int], mode: str) -> None:
    """Look at labels.

    Args:
        labels (Tensor): Class indices, in main memory.
        num_classes (int, optional): Classes of the head.
        mode (str): ``'train'``, ``'val'`` or ``'test'``, for the message.

    Raises:
        DatasetError: A label is negative or not below ``num_classes``.
    """
    if num_classes is None:
        return
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise DatasetError(
            f'the {mode} data has the label {int(wrong[0])}, but the head has {num_classes} '
            f'classes, 0 to {num_classes - 1}: correct the labels, or set num_classes of the head'
        )


def _num_classes(runner) -> Optional[int]:
    model = unwrap(runner.model)
    owner = model if hasattr(model, 'num_classes') else getattr(model, 'head', None)
    return getattr(owner, 'num_classes', None)
