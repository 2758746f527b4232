"""Images in memory as if they had been read from files."""

from typing import Any, Sequence, Union

import numpy as np
from mmpretrain.datasets import BaseDataset

from mmrazor_byot.registry import DATASETS


@DATASETS.register_module()
class BGRImages(BaseDataset):
    """Wraps a data set in memory, whose images are RGB: a pipeline gets BGR, as from files.

    Exported classifiers are tested with it, as mmpretrain's inferencer gives their pipeline BGR.

    Args:
        dataset (dict | BaseDataset): A data set whose samples hold decoded images.
        pipeline (Sequence): Transforms. Defaults to ().
        **kwargs: As in mmpretrain's ``BaseDataset``.
    """

    def __init__(
        self, dataset: Union[dict, BaseDataset], pipeline: Sequence = (), **kwargs: Any
    ) -> None:
        self._source = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        super().__init__(ann_file='', pipeline=pipeline, serialize_data=False, **kwargs)

    def full_init(self) -> None:
        """Read the data set, once."""
        self._source.full_init()
        self._metainfo.update(self._source.metainfo)
        self._fully_initialized = True

    def get_data_info(self, idx: int) -> dict:
        """One sample, with ``img`` (H, W, 3) in BGR."""
        info = self._source.get_data_info(idx)
        if info['img'].ndim == 3:
            info['img'] = np.ascontiguousarray(info['img'][..., ::-1])
        return info

    def get_gt_labels(self) -> np.ndarray:
        """Labels of all samples, (M,)."""
        return self._source.get_gt_labels()

    def __len__(self) -> int:
        return len(self._source)
