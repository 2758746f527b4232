"""A data set of small images that returns collated batches."""

from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmpretrain.datasets import BaseDataset
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import DATASETS
from mmrazor_byot.structures import BatchSamples

from .collate import CollatedBatch
from .in_memory import ArrayDataset, is_integer


@DATASETS.register_module()
class ImageBatches(ArrayDataset):
    """Wraps a data set: its images are one tensor, and batches are gathered from it.

    torch's data loader requests all samples of a batch at once and gets them from one gather, so no
    Python code runs per image. :class:`BatchDataPreprocessor` then augments the batch.

    The images are in shared memory, which worker processes read without a copy, or on the GPU.

    Args:
        dataset (dict | BaseDataset): A data set without a pipeline, whose samples hold decoded
            images of one size: ``Digits``, ``PackedImages``, ``CIFAR10`` and so on, ours or
            mmpretrain's.
        device (str, optional): Device of the images: ``'cuda'``, or ``'auto'`` for the process's
            GPU if there is one. A GPU requires ``num_workers=0`` and ``pin_memory=False``. Defaults
            to None, main memory.
        lazy_init (bool): Read the images on first use. Defaults to False.
        **settings: Override those of ``dataset``, so that
            ``train_dataloader.dataset.hold_out_every=10`` has the same meaning with and without
            ImageBatches.

    Raises:
        ConfigError: There is a pipeline, or no such device.
        DatasetError: The images are not decoded, uint8, RGB and of one size.
    """

    images: Tensor
    labels: Tensor

    def __init__(
        self,
        dataset: Union[dict, BaseDataset],
        device: Optional[str] = None,
        lazy_init: bool = False,
        **settings: Any,
    ) -> None:
        self._source = _build(dataset, settings)
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
        del self._source  # frees its copy of the images
        self._fully_initialized = True

    def __getitems__(self, indices: Sequence[int]) -> CollatedBatch:
        """Gather a batch: ``inputs`` uint8 and ``data_samples`` with ``gt_label``, ``sample_idx``.

        Raises:
            ConfigError: A worker process requests images on the GPU.
        """
        self.full_init()
        self._check_gpu(get_worker_info() is not None, 'num_workers=0')
        sample_idx = torch.as_tensor(indices)
        chosen = sample_idx.to(self.images.device, non_blocking=True)
        inputs, labels = self.images.index_select(0, chosen), self.labels.index_select(0, chosen)
        samples = BatchSamples(gt_label=labels, sample_idx=sample_idx)
        return CollatedBatch(inputs=inputs, data_samples=samples)

    def __getitem__(self, idx: int) -> dict:
        """One sample as ``PackInputs`` returns it."""
        batch = self.__getitems__([range(len(self))[idx]])
        return {name: value[0] for name, value in batch.items()}

    def get_data_info(self, idx: int) -> dict:
        """One sample: ``img`` (H, W, 3) uint8, a copy, ``gt_label`` and ``sample_idx``."""
        idx = range(len(self))[idx]
        image = self.images[idx].permute(1, 2, 0).cpu().numpy()
        return dict(img=np.array(image, order='C'), gt_label=int(self.labels[idx]), sample_idx=idx)

    def check_loader(self, loader: DataLoader) -> None:
        """Check that a data loader can read the images on their device.

        Raises:
            ConfigError: They are on the GPU, and it has worker processes or pins memory.
        """
        self.full_init()
        self._check_gpu(bool(loader.num_workers), 'num_workers=0')
        self._check_gpu(loader.pin_memory, 'pin_memory=False')

    def _check_gpu(self, wrong: bool, setting: str) -> None:
        if wrong and self.images.is_cuda:
            raise ConfigError(
                f'ImageBatches keeps the images on {self.images.device}: set {setting} of the data '
                'loader, or device=None of the data set'
            )


def read_all(dataset: BaseDataset) -> Tuple[Tensor, Tensor]:
    """All images (M, 3, H, W) uint8 and labels (M,) int64 of a data set.

    Raises:
        DatasetError: A sample has no decoded image or no label, or images differ in size.
    """
    name, count = type(dataset).__name__, len(dataset)
    if not count:
        raise DatasetError(f'{name} has no images')
    labels = torch.empty(count, dtype=torch.int64)
    for i in range(count):
        info = dataset.get_data_info(i)
        image, label = info.get('img'), info.get('gt_label')
        if image is None:
            raise DatasetError(
                f'image {i} of {name} is not in memory: ImageBatches takes data sets whose samples '
                f'hold decoded images as "img", not {sorted(info)}. Pack image files with '
                'mmrazor_byot.datasets.packed_images.pack_images'
            )
        dtype, shape = getattr(image, 'dtype', type(image).__name__), np.shape(image)
        if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
            raise DatasetError(
                f'image {i} of {name} is {dtype} of shape {shape}; ImageBatches takes uint8 images '
                'of three channels, (H, W, 3)'
            )
        if i == 0:
            size = shape[:2]
            images = torch.empty((count, 3, *size), dtype=torch.uint8)
        elif shape[:2] != size:
            raise DatasetError(
                f'image {i} of {name} is {shape[:2]}, image 0 {size}: ImageBatches takes images of '
                'one size. Resize them first, or use the data set without ImageBatches'
            )
        if not is_integer(label):
            raise DatasetError(f'image {i} of {name} has the label {label}; it must be one integer')
        images.numpy()[i] = image.transpose(2, 0, 1)
        labels[i] = label
    return images, labels


def _build(dataset: Union[dict, BaseDataset], settings: dict) -> BaseDataset:
    if isinstance(dataset, dict):
        dataset = DATASETS.build({**dataset, **settings})
    elif settings:
        raise ConfigError(
            f'ImageBatches got {sorted(settings)} for a data set that is already built; pass its '
            'config instead'
        )
    if dataset.pipeline.transforms:
        names = [type(t).__name__ for t in dataset.pipeline.transforms]
        raise ConfigError(
            f'ImageBatches around {type(dataset).__name__} with the pipeline {names}: a pipeline '
            'works on single images, but ImageBatches returns batches. Remove it; augmentations '
            'go to transforms of data_preprocessor=dict(type="mmrazor_byot.BatchDataPreprocessor")'
        )
    return dataset


def _shared(tensor: Tensor) -> Tensor:
    """Move to shared memory if it has room; forked processes share unwritten memory without it."""
    try:
        return tensor.share_memory_()
    except RuntimeError:
        return tensor


def _device(name: Optional[str]) -> torch.device:
    has_gpu = torch.cuda.is_available()
    if name == 'auto':
        name = 'cuda' if has_gpu else 'cpu'
    kind = (name or 'cpu').split(':')[0]
    if kind not in ('cpu', 'cuda'):
        raise ConfigError(f'ImageBatches(device={name!r}): choose from None, "auto" and "cuda"')
    if kind == 'cuda' and not has_gpu:
        raise ConfigError(
            f'ImageBatches(device={name!r}): there is no GPU; "auto" uses one only if there is one'
        )
    return torch.device(name or 'cpu')
