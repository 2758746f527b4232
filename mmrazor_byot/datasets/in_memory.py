"""A small image set, decoded once and kept as one array."""

import copy
from abc import abstractmethod
from numbers import Integral
from typing import Any, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmpretrain.datasets import BaseDataset

from mmrazor_byot.errors import DatasetError


class ArrayDataset(BaseDataset):
    """Base of the data sets with all ``images`` and all ``labels`` in two arrays, or two tensors.

    Subclasses write ``full_init``, which sets them, and ``get_data_info``.
    """

    def load_data_list(self) -> List[dict]:
        """All samples as dicts, for tools that want a list."""
        return [self.get_data_info(i) for i in range(len(self))]

    def get_subset_(self, indices: Union[int, Sequence[int]]) -> None:
        """Keep only some samples.

        Args:
            indices (int | Sequence[int]): The first n (the last, if negative), or those with these
                numbers.
        """
        self.full_init()
        self.images, self.labels = pick(self.images, indices), pick(self.labels, indices)

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

    All images are in one uint8 array, all labels in one int64 array: no file is opened and no
    image decoded while training, and worker processes that are forked share the one copy.

    Subclasses write :meth:`load_arrays`.

    Args:
        pipeline (Sequence): Transforms; they get ``img`` (H, W, 3) uint8 RGB and ``gt_label``.
            Defaults to ().
        num_classes (int, optional): Keep the first classes only.
        hold_out_every (int, optional): Set apart every n-th image of each class, to tune or
            calibrate on.
        held_out (bool): Keep the images set apart instead of the others. Defaults to False.
        skip_per_class (int): Of these, leave out the first images of each class. Defaults to 0.
        samples_per_class (int, optional): Of these, keep the first images of each class only.
        **kwargs: As in mmpretrain's ``BaseDataset``: ``metainfo``, ``indices``, ``test_mode``,
            ``lazy_init`` and so on.

    Raises:
        DatasetError: Images and labels do not belong together.
    """

    def __init__(
        self,
        pipeline: Sequence = (),
        num_classes: Optional[int] = None,
        skip_per_class: int = 0,
        samples_per_class: Optional[int] = None,
        hold_out_every: Optional[int] = None,
        held_out: bool = False,
        **kwargs,
    ):
        self.num_classes = num_classes
        self.skip_per_class = skip_per_class
        self.samples_per_class = samples_per_class
        self.hold_out_every = hold_out_every
        self.held_out = held_out
        # Arrays need no serializing: forked workers share them as they are.
        super().__init__(
            ann_file=kwargs.pop('ann_file', ''), pipeline=pipeline, serialize_data=False, **kwargs
        )

    @abstractmethod
    def load_arrays(self) -> Tuple[np.ndarray, np.ndarray, List[str]]:
        """Read the data.

        Returns:
            tuple: Images (M, H, W, 3) uint8 RGB, labels (M,) int64, and the names of the classes.
        """

    def full_init(self) -> None:
        """Load, check and cut down the arrays, once."""
        if self._fully_initialized:
            return
        images, labels, classes = self.load_arrays()
        labels = np.asarray(labels, dtype=np.int64)
        self._check(images, labels, classes)
        keep = self._chosen(labels, len(classes))
        self.images, self.labels = images[keep], labels[keep]
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

    def _chosen(self, labels: np.ndarray, count: int) -> np.ndarray:
        """Numbers of the samples to keep, in their order."""
        if self.num_classes is not None and not 1 <= self.num_classes <= count:
            raise DatasetError(
                f'{self._name}: num_classes={self.num_classes}, but it has {count} classes'
            )
        if self.skip_per_class < 0:
            raise DatasetError(f'{self._name}: skip_per_class={self.skip_per_class}; at least 0')
        if self.samples_per_class is not None and self.samples_per_class < 1:
            raise DatasetError(
                f'{self._name}: samples_per_class={self.samples_per_class}; at least 1'
            )
        keep = np.flatnonzero(labels < (self.num_classes or count))
        keep = keep[is_part(labels[keep], self.hold_out_every, self.held_out, self._name)]
        rank = rank_in_class(labels[keep]) - self.skip_per_class
        keep = keep[(rank >= 0) & (rank < (self.samples_per_class or len(keep)))]
        if self._indices is not None:
            keep = pick(keep, self._indices)
        if not len(keep):
            raise DatasetError(
                f'{self._name}: no image is left after choosing classes, samples or indices'
            )
        return keep

    def _check(self, images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
        if not len(images) or len(images) != len(labels):
            raise DatasetError(f'{self._name}: {len(images)} images for {len(labels)} labels')
        wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if len(wrong):
            raise DatasetError(
                f'{self._name}: the label of image {wrong[0]} is {labels[wrong[0]]}, but there are '
                f'{len(classes)} classes, 0 to {len(classes) - 1} ({len(wrong)} labels out of '
                'range)'
            )

    @property
    def _name(self) -> str:
        return f'{type(self).__name__} {self.ann_file}'.strip()


def is_part(labels: np.ndarray, every: Optional[int], held_out: bool, name: str) -> np.ndarray:
    """Which images belong to a data set that holds every n-th image of each class out.

    Args:
        labels (np.ndarray): Classes of all, (M,).
        every (int, optional): The n. All images belong to it if this is None.
        held_out (bool): Whether it has these images, or the others.
        name (str): The data set's, for the message.

    Returns:
        np.ndarray: (M,) bool.

    Raises:
        DatasetError: None, or all, would be held out.
    """
    if every is None and not held_out:
        return np.ones(len(labels), bool)
    if every is None or every < 2:
        raise DatasetError(
            f'{name}: hold_out_every={every}; at least 2, so that some are held out, some not'
        )
    return (rank_in_class(labels) % every == every - 1) == held_out


def rank_in_class(labels: np.ndarray) -> np.ndarray:
    """How many images of its class come before each, (M,)."""
    rank = np.empty(len(labels), np.int64)
    for c in np.unique(labels):
        rank[labels == c] = np.arange((labels == c).sum())
    return rank


def pick(values: Any, indices: Union[int, Sequence[int]]) -> Any:
    """The first n (the last, if negative) of an array or a tensor, or a choice."""
    if not isinstance(indices, Integral):
        return values[list(indices)]
    return values[:indices] if indices >= 0 else values[indices:]
