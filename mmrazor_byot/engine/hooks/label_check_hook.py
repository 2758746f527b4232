"""Labels and classifier must speak of the same classes."""
from typing import Optional

import torch
from mmengine.hooks import Hook

from mmrazor_byot.datasets import ImageBatches
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import HOOKS
from mmrazor_byot.structures import BatchSamples

from .unwrap import unwrap


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Compares the classes of head and data set, and looks at every label.

    On a GPU a label out of range is a device assert that names nothing.
    Labels are looked at where they still are in main memory, in the first
    pass over each data set only; those of ImageBatches all at once.
    """

    def __init__(self) -> None:
        self._done = set()

    def before_train(self, runner) -> None:
        """Compare with the training set."""
        self._compare(runner, runner.train_dataloader, 'train_dataloader')

    def before_val(self, runner) -> None:
        """Compare with the validation set."""
        self._compare(runner, runner.val_dataloader, 'val_dataloader')

    def before_test(self, runner) -> None:
        """Compare with the test set."""
        self._compare(runner, runner.test_dataloader, 'test_dataloader')

    def _compare(self, runner, dataloader, name: str) -> None:
        num_classes = _num_classes(runner)
        classes = getattr(dataloader.dataset, 'metainfo', {}).get('classes')
        if num_classes and classes and len(classes) != num_classes:
            raise ConfigError(
                f'the head has {num_classes} classes, but the dataset of '
                f'{name} has {len(classes)}: set num_classes={len(classes)} '
                'of the head (and of data_preprocessor, if it is set there)')
        mode = name.split('_')[0]
        if isinstance(dataloader.dataset, ImageBatches) and (
                mode not in self._done):
            dataloader.dataset.check_loader(dataloader)
            labels = torch.from_numpy(dataloader.dataset.get_gt_labels())
            look_at_labels(labels, num_classes, mode)
            self._done.add(mode)

    def _before_iter(self,
                     runner,
                     batch_idx: int,
                     data_batch: Optional[dict] = None,
                     mode: str = 'train') -> None:
        if mode not in self._done:
            check_labels(data_batch, _num_classes(runner), mode)

    def _after_epoch(self, runner, mode: str = 'train') -> None:
        self._done.add(mode)


def check_labels(data_batch: dict, num_classes: Optional[int],
                 mode: str) -> None:
    """Look at the labels of a batch.

    Args:
        data_batch (dict): With ``data_samples``.
        num_classes (int, optional): Classes of the head.
        mode (str): ``'train'``, ``'val'`` or ``'test'``, for the message.

    Raises:
        DatasetError: A label is negative or not below ``num_classes``.
    """
    samples = data_batch.get('data_samples') if isinstance(data_batch,
                                                           dict) else None
    if not samples or num_classes is None:
        return
    if not BatchSamples.of(samples).has('gt_label'):
        return
    labels = (samples.gt_label if isinstance(samples, BatchSamples) else
              torch.cat([sample.gt_label for sample in samples]))
    look_at_labels(labels, num_classes, mode)


def look_at_labels(labels: torch.Tensor, num_classes: Optional[int],
                   mode: str) -> None:
    """Look at labels, (N,), see :func:`check_labels`."""
    if num_classes is None:
        return
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise DatasetError(
            f'the {mode} data has the label {int(wrong[0])}, but the head '
            f'has {num_classes} classes, 0 to {num_classes - 1}: correct the '
            'labels, or set num_classes of the head')


def _num_classes(runner) -> Optional[int]:
    model = unwrap(runner.model)
    owner = model if hasattr(model, 'num_classes') else getattr(
        model, 'head', None)
    return getattr(owner, 'num_classes', None)
