"""mmpretrain's CIFAR, with errors that say what to do."""

import os
import pickle
import tarfile
from typing import List, Optional

import numpy as np
from mmpretrain.datasets import CIFAR10 as _CIFAR10
from mmpretrain.datasets import CIFAR100 as _CIFAR100

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import DATASETS

from .in_memory import is_part


class _ClearErrors:
    """Adds to mmpretrain's: errors that say what to do, and images held out."""

    def __init__(
        self,
        data_root: str = '',
        split: str = 'train',
        hold_out_every: Optional[int] = None,
        held_out: bool = False,
        **kwargs,
    ):
        name = type(self).__name__
        if split not in ('train', 'test'):
            raise ConfigError(f'{name}(split={split!r}): choose from "train" and "test"')
        if not (data_root or kwargs.get('data_prefix')):
            raise ConfigError(f'{name}: set data_root, the folder of the data')
        self.hold_out_every = hold_out_every
        self.held_out = held_out
        super().__init__(data_root=data_root, split=split, **kwargs)

    def load_data_list(self) -> List[dict]:
        name = type(self).__name__
        try:
            samples = super().load_data_list()
        # AssertionError: mmpretrain's check of the files. OSError: also URLError, without network.
        except (
            OSError,
            RuntimeError,
            AssertionError,
            EOFError,
            pickle.UnpicklingError,
            tarfile.TarError,
        ) as e:
            folder = os.path.abspath(self.data_prefix['root'])
            raise DatasetError(
                f'{name} is not complete in {folder} and could not be fetched '
                f'({type(e).__name__}: {e}). Download {self.url} (md5 {self.tgz_md5}) and unpack '
                f'it there, so that {os.path.join(folder, self.base_folder)} exists.'
            ) from e
        labels = np.array([sample['gt_label'] for sample in samples])
        kept = np.flatnonzero(is_part(labels, self.hold_out_every, self.held_out, name))
        if not len(kept):
            raise DatasetError(
                f'{name}: no image is left; hold_out_every={self.hold_out_every} is too much'
            )
        return [samples[i] for i in kept]


@DATASETS.register_module()
class CIFAR10(_ClearErrors, _CIFAR10):
    """CIFAR-10, fetched and checked on first use.

    Args:
        data_root (str): Folder of the data.
        split (str): ``'train'`` or ``'test'``. Defaults to ``'train'``.
        hold_out_every, held_out: As in :class:`InMemoryDataset`.
        **kwargs: As in mmpretrain's ``CIFAR10``.

    Raises:
        DatasetError: The files are missing or damaged and there is no network; says which file and
            folder.
    """


@DATASETS.register_module()
class CIFAR100(_ClearErrors, _CIFAR100):
    """CIFAR-100, fetched and checked on first use; arguments and errors as :class:`CIFAR10`."""
