"""Data sets whose images are decoded once and kept in one array."""

import copy
from abc import abstractmethod
from typing import Any, List, Optional, Sequence, Tuple, TypeGuard, Union

import numpy as np
import torch
from mmpretrain.datasets import BaseDataset

from mmrazor_byot.errors import DatasetError


class ArrayDataset(BaseDataset):
    """Base of the data sets with all ``images`` and all ``labels`` in two arrays, or two tensors.

    Subclasses write ``full_init``, which sets them, and ``get_data_info``.
    """

    images: Union[np.ndarray, torch.Tensor]
    labels: Union[np.ndarray, torch.Tensor]
    _fully_initialized: bool

    def load_data_list(self) -> List[dict]:
        """All samples as dicts, for tools that need a list."""
        return [self.get_data_info(i) for i in range(len(self))]

    def get_subset_(self, indices: Union[int, Sequence[int]]) -> None:
        """Keep only these samples; of a number n, the first n (the last, if negative)."""
        self.full_init()
        chosen = subset_index(indices)
        self.images, self.labels = self.images[chosen], self.labels[chosen]

    def get_subset(self, indices: Union[int, Sequence[int]]) -> 'ArrayDataset':
        """A data set of some of the samples, see :meth:`get_subset_`."""
        subset = copy.copy(self)
        subset.get_subset_(indices)
        return subset

    def get_gt_labels(self) -> np.ndarray:
        """Labels of all samples, (M,)."""
        self.full_init()
        return torch.as_tensor(self.labels).cpu().numpy()

    def __len__(self) -> int:
        self.full_init()
        return len(self.labels)


class InMemoryDataset(ArrayDataset):
    """Base of the data sets that fit in memory.

    All images are in one uint8 array and all labels in one int64 array: no file is opened and no
    image is decoded during training, and forked worker processes share the arrays.

    Subclasses write :meth:`load_arrays`.

    Args:
        pipeline (Sequence): Transforms; they get ``img`` (H, W, 3) uint8 RGB and ``gt_label``.
            Defaults to ().
        num_classes (int, optional): Keep only the first classes.
        hold_out_every (int, optional): Hold out every n-th image of each class, for tuning or
            calibration.
        held_out (bool): Keep the held-out images instead of the others. Defaults to False.
        skip_per_class (int): Then skip the first images of each class. Defaults to 0.
        samples_per_class (int, optional): Then keep only the first images of each class.
        **kwargs: As in mmpretrain's ``BaseDataset``: ``metainfo``, ``indices``, ``test_mode``,
            ``lazy_init`` and so on.

    Raises:
        DatasetError: The labels do not match the images or the classes, or no image is selected.
    """

    images: np.ndarray
    labels: np.ndarray

    def __init__(
        self,
        pipeline: Sequence = (),
        num_classes: Optional[int] = None,
        skip_per_class: int = 0,
        samples_per_class: Optional[int] = None,
        hold_out_every: Optional[int] = None,
        held_out: bool = False,
        **kwargs: Any,
    ) -> None:
        self.num_classes = num_classes
        self.skip_per_class = skip_per_class
        self.samples_per_class = samples_per_class
        self.hold_out_every = hold_out_every
        self.held_out = held_out
        kwargs = {'ann_file': '', **kwargs}
        super().__init__(pipeline=pipeline, serialize_data=False, **kwargs)

    @abstractmethod
    def load_arrays(self) -> Tuple[np.ndarray, np.ndarray, List[str]]:
        """Images (M, H, W, 3) uint8 RGB, labels (M,) int64, and the names of the classes."""

    def full_init(self) -> None:
        """Load and check the arrays and select the samples, once."""
        if self._fully_initialized:
            return
        images, labels, classes = self.load_arrays()
        labels = checked_labels(labels, len(images), len(classes), self._name)
        chosen = self._select(labels, len(classes))
        self.images, self.labels = images[chosen], labels[chosen]
        names = self._metainfo.get('classes', classes)
        self._metainfo['classes'] = tuple(names)[: self.num_classes]
        self._fully_initialized = True

    def get_data_info(self, idx: int) -> dict:
        """One sample: ``img`` (H, W, 3) uint8, a copy, ``gt_label`` and ``sample_idx``."""
        self.full_init()
        return dict(
            img=self.images[idx].copy(),
            gt_label=int(self.labels[idx]),
            sample_idx=idx if idx >= 0 else len(self) + idx,
        )

    def _select(self, labels: np.ndarray, count: int) -> np.ndarray:
        """Indices of the samples to keep, of ``count`` classes, in ascending order."""
        for setting, least in (('num_classes', 1), ('skip_per_class', 0), ('samples_per_class', 1)):
            value = getattr(self, setting)
            if value is not None and not (is_integer(value) and value >= least):
                raise DatasetError(f'{self._name}: {setting}={value}; an integer, at least {least}')
        if self.num_classes is not None and self.num_classes > count:
            raise DatasetError(
                f'{self._name}: num_classes={self.num_classes}, but it has {count} classes'
            )
        keep = np.flatnonzero(labels < (self.num_classes or count))
        keep = keep[select_part(labels[keep], self.hold_out_every, self.held_out, self._name)]
        rank = rank_in_class(labels[keep]) - self.skip_per_class
        keep = keep[(rank >= 0) & (rank < (self.samples_per_class or len(keep)))]
        if self._indices is not None:
            keep = keep[subset_index(self._indices)]
        if not len(keep):
            raise DatasetError(
                f'{self._name}: no image is left after selecting classes, samples or indices'
            )
        return keep

    @property
    def _name(self) -> str:
        return f'{type(self).__name__} {self.ann_file}'.strip()


def checked_labels(labels: Any, images: int, classes: int, name: str) -> np.ndarray:
    """Labels (M,) int64; a DatasetError if they are not the class of each of M images."""
    try:
        labels = np.asarray(labels)
    except ValueError as e:  # lists of different lengths
        raise DatasetError(f'{name}: the labels are not one number for each image ({e})') from e
    if labels.ndim != 1 or not images or images != len(labels):
        raise DatasetError(f'{name}: {images} images for labels of shape {labels.shape}')
    if labels.dtype.kind not in 'iu':
        raise DatasetError(
            f'{name}: the labels are {labels.dtype}, the first is {labels[0]}; a label is the '
            'number of a class, an integer'
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DatasetError(
            f'{name}: the label of image {wrong[0]} is {labels[wrong[0]]}, but there are {classes} '
            f'classes, 0 to {classes - 1} ({len(wrong)} labels out of range)'
        )
    return labels.astype(np.int64)


def select_part(labels: np.ndarray, every: Optional[int], held_out: bool, name: str) -> np.ndarray:
    """Mask (M,) of the images held out, every n-th of each class, or of the others; None: all."""
    if every is None and not held_out:
        return np.ones(len(labels), bool)
    if not is_integer(every) or every < 2:
        raise DatasetError(
            f'{name}: hold_out_every={every!r}; to hold out images, set an integer, at least 2'
        )
    return (rank_in_class(labels) % every == every - 1) == held_out


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether a setting is an integer, of Python or NumPy."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def rank_in_class(labels: np.ndarray) -> np.ndarray:
    """Number of earlier images of the same class, for each image, (M,)."""
    rank = np.empty(len(labels), np.int64)
    for c in np.unique(labels):
        rank[labels == c] = np.arange((labels == c).sum())
    return rank


def subset_index(indices: Union[int, Sequence[int]]) -> Union[slice, List[int]]:
    """Index of an array for ``indices`` as in :meth:`ArrayDataset.get_subset_`."""
    if not isinstance(indices, (int, np.integer)):
        return list(indices)
    return slice(indices) if indices >= 0 else slice(indices, None)
