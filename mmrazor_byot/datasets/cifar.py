"""mmpretrain's CIFAR with held-out images, and errors that tell the user what to do."""

import os
import pickle
import tarfile
from typing import Any, List, Optional

import numpy as np
from mmpretrain.datasets import CIFAR10 as _CIFAR10
from mmpretrain.datasets import CIFAR100 as _CIFAR100

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import DATASETS

from .in_memory import select_part

#: AssertionError: mmpretrain's check of the files. OSError includes URLError, without network.
DOWNLOAD_ERRORS = (
    OSError,
    RuntimeError,
    AssertionError,
    EOFError,
    pickle.UnpicklingError,
    tarfile.TarError,
)


@DATASETS.register_module()
class CIFAR10(_CIFAR10):
    """CIFAR-10, downloaded and checked on first use.

    Args:
        data_root (str): Folder of the data.
        split (str): ``'train'`` or ``'test'``. Defaults to ``'train'``.
        hold_out_every, held_out: As in :class:`InMemoryDataset`.
        **kwargs: As in mmpretrain's ``CIFAR10``.

    Raises:
        ConfigError: There is no such split, or no ``data_root``.
        DatasetError: The files are missing or damaged and cannot be downloaded.
    """

    def __init__(
        self,
        data_root: str = '',
        split: str = 'train',
        hold_out_every: Optional[int] = None,
        held_out: bool = False,
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        if split not in ('train', 'test'):
            raise ConfigError(f'{name}(split={split!r}): choose from "train" and "test"')
        if not (data_root or kwargs.get('data_prefix')):
            raise ConfigError(f'{name}: set data_root, the folder of the data')
        self.hold_out_every = hold_out_every
        self.held_out = held_out
        super().__init__(data_root=data_root, split=split, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Load the samples of the split, without those that are held out."""
        name = type(self).__name__
        try:
            samples = super().load_data_list()
        except DOWNLOAD_ERRORS as e:
            folder = os.path.abspath(self.data_prefix['root'])
            raise DatasetError(
                f'{name} is not complete in {folder} and could not be downloaded '
                f'({type(e).__name__}: {e}). Download {self.url} (md5 {self.tgz_md5}) and unpack '
                f'it there, so that {os.path.join(folder, self.base_folder)} exists.'
            ) from e
        labels = np.array([sample['gt_label'] for sample in samples])
        kept = np.flatnonzero(select_part(labels, self.hold_out_every, self.held_out, name))
        if not len(kept):
            raise DatasetError(
                f'{name}: no image is left; hold_out_every={self.hold_out_every} is too large'
            )
        return [samples[i] for i in kept]


@DATASETS.register_module()
class CIFAR100(CIFAR10, _CIFAR100):
    """CIFAR-100, downloaded and checked on first use; arguments and errors as :class:`CIFAR10`."""
