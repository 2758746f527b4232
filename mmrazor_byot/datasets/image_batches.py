"""A data set of small images that hands over whole batches."""

import copy
from typing import List, Optional, Sequence, Union

import numpy as np
import torch
from mmpretrain.datasets import BaseDataset
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import DATASETS
from mmrazor_byot.structures import BatchSamples

from .collate import WholeBatch
from .in_memory import pick
from .read_all import read_all


@DATASETS.register_module()
class ImageBatches(BaseDataset):
    """All images of a data set as one tensor, and batches gathered from it.

    torch's data loader asks for all samples of a batch at once, and gets them by one gather: no
    Python runs for a single image. Augmentations are done behind it, on whole batches, by
    :class:`BatchDataPreprocessor`.

    The images stand in shared memory, where worker processes find them however they were started;
    or on the GPU.

    Args:
        dataset (dict | BaseDataset): A data set whose images are decoded and of one size:
            ``Digits``, ``PackedImages``, ``CIFAR10`` and so on, ours or mmpretrain's. It takes no
            pipeline.
        device (str, optional): Where the images are kept. ``'auto'`` is the process's GPU where
            there is one. A GPU takes ``num_workers=0`` and ``pin_memory=False``. Defaults to None,
            main memory.
        lazy_init (bool): Read the images when they are first asked for. Defaults to False.
        **settings: Put over those of ``dataset``, so that
            ``train_dataloader.dataset.hold_out_every=10`` means the same with and without
            ImageBatches.

    Raises:
        ConfigError: There is a pipeline, or no such device.
        DatasetError: The images are not of one size, not uint8, not of three colours, or not
            decoded.
    """

    def __init__(
        self,
        dataset: Union[dict, BaseDataset],
        device: Optional[str] = None,
        lazy_init: bool = False,
        **settings,
    ) -> None:
        self._source: Optional[BaseDataset] = _build(dataset, settings)
        self.source_name = type(self._source).__name__
        self.device = device
        super().__init__(ann_file='', serialize_data=False, lazy_init=lazy_init)

    def full_init(self) -> None:
        """Read all images, once."""
        if self._fully_initialized:
            return
        self._source.full_init()
        images, labels = read_all(self._source)
        device = _device(self.device)
        if device.type == 'cpu':
            images, labels = _shared(images), _shared(labels)
        self.images, self.labels = images.to(device), labels.to(device)
        self._metainfo.update(self._source.metainfo)
        self._source = None  # it has its images for itself
        self._fully_initialized = True

    def __getitems__(self, indices: Sequence[int]) -> WholeBatch:
        """A batch.

        Args:
            indices (Sequence[int]): Numbers of N images, 0 to M - 1.

        Returns:
            WholeBatch: ``inputs`` (N, 3, H, W) uint8 and ``data_samples``, with ``gt_label`` and
            ``sample_idx``.

        Raises:
            ConfigError: A worker process asks for images on the GPU.
        """
        self.full_init()
        if self.images.is_cuda and get_worker_info() is not None:
            raise ConfigError(self._on_gpu('num_workers=0'))
        numbers = torch.as_tensor(indices)
        chosen = numbers.to(self.images.device, non_blocking=True)
        return WholeBatch(
            inputs=self.images.index_select(0, chosen),
            data_samples=BatchSamples(
                gt_label=self.labels.index_select(0, chosen), sample_idx=numbers
            ),
        )

    def __getitem__(self, idx: int) -> dict:
        """One sample, for tools that ask for one.

        Args:
            idx (int): Its number; from the end, if negative.

        Returns:
            dict: As ``PackInputs`` packs it: ``inputs`` (3, H, W) uint8 and ``data_samples``, a
            ``DataSample``.
        """
        batch = self.__getitems__([range(len(self))[idx]])
        return {name: value[0] for name, value in batch.items()}

    def get_data_info(self, idx: int) -> dict:
        """One sample as data sets in memory hold it.

        Args:
            idx (int): Its number.

        Returns:
            dict: ``img`` (H, W, 3) uint8, ``gt_label``, ``sample_idx``.
        """
        idx = range(len(self))[idx]
        image = self.images[idx].permute(1, 2, 0).cpu().numpy()
        return dict(img=np.array(image, order='C'), gt_label=int(self.labels[idx]), sample_idx=idx)

    def load_data_list(self) -> List[dict]:
        """All samples as dicts, for tools that want a list."""
        return [self.get_data_info(i) for i in range(len(self))]

    def get_subset_(self, indices: Union[int, Sequence[int]]) -> None:
        """Keep only some samples.

        Args:
            indices (int | Sequence[int]): The first n (the last, if negative), or those of these
                numbers.
        """
        keep = torch.from_numpy(pick(np.arange(len(self)), indices))
        keep = keep.to(self.images.device)
        self.images, self.labels = self.images[keep], self.labels[keep]

    def get_subset(self, indices: Union[int, Sequence[int]]) -> 'ImageBatches':
        """A data set of some of the samples, see :meth:`get_subset_`."""
        subset = copy.copy(self)
        subset.get_subset_(indices)
        return subset

    def get_gt_labels(self) -> np.ndarray:
        """Labels of all samples, (M,)."""
        self.full_init()
        return self.labels.cpu().numpy()

    def check_loader(self, loader: DataLoader) -> None:
        """Look whether a loader can read images where they are.

        Args:
            loader (DataLoader): Of this data set.

        Raises:
            ConfigError: They are on the GPU, and it has workers or pins.
        """
        self.full_init()
        if self.images.is_cuda and loader.num_workers:
            raise ConfigError(self._on_gpu('num_workers=0'))
        if self.images.is_cuda and loader.pin_memory:
            raise ConfigError(self._on_gpu('pin_memory=False'))

    def __len__(self) -> int:
        self.full_init()
        return len(self.labels)

    def extra_repr(self) -> List[str]:
        """Where the images come from and where they are."""
        body = [f'Images of: \t{self.source_name}']
        if self._fully_initialized:
            body.append(f'Kept: \t{tuple(self.images.shape)} uint8 on {self.images.device}')
        return body

    def _on_gpu(self, setting: str) -> str:
        return (
            f'ImageBatches keeps the images on {self.images.device}: set {setting} of the data '
            'loader, or device=None of the data set'
        )


def _build(dataset: Union[dict, BaseDataset], settings: dict) -> BaseDataset:
    if isinstance(dataset, dict):
        dataset = DATASETS.build({**dataset, **settings})
    elif settings:
        raise ConfigError(
            f'ImageBatches got {sorted(settings)} for a data set that is built already; give its '
            'config'
        )
    if dataset.pipeline.transforms:
        names = [type(t).__name__ for t in dataset.pipeline.transforms]
        raise ConfigError(
            f'ImageBatches around {type(dataset).__name__} with the pipeline {names}: a pipeline '
            'works on single images, and here are only whole batches. Leave it out; augmentations '
            'go to transforms of data_preprocessor=dict(type="mmrazor_byot.BatchDataPreprocessor")'
        )
    return dataset


def _shared(tensor: Tensor) -> Tensor:
    """In shared memory, if there is room: containers have little of it.

    Without it forked processes still share what nobody writes to.
    """
    try:
        return tensor.share_memory_()
    except RuntimeError:
        return tensor


def _device(name: Optional[str]) -> torch.device:
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(name or 'cpu')
    except RuntimeError as e:
        raise ConfigError(
            f'ImageBatches(device={name!r}): no such device. Choose from None, "auto" and "cuda"'
        ) from e
    if device.type not in ('cpu', 'cuda'):
        raise ConfigError(f'ImageBatches(device={name!r}): choose from None, "auto" and "cuda"')
    if device.type == 'cuda' and not torch.cuda.is_available():
        raise ConfigError(
            f'ImageBatches(device={name!r}): there is no GPU; "auto" takes one where there is one'
        )
    return device
