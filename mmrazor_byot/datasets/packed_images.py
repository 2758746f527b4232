"""A small data set whose images are packed into one file."""

import os
from typing import Any, List, Sequence, Tuple

import cv2
import numpy as np

from mmrazor_byot.errors import DatasetError
from mmrazor_byot.files import atomic_path
from mmrazor_byot.registry import DATASETS

from .in_memory import InMemoryDataset


@DATASETS.register_module()
class PackedImages(InMemoryDataset):
    """Encoded images of equal size packed into one ``.npz`` file, see :func:`pack_images`.

    For each split s the file has the arrays ``s_jpeg`` (all files, JPEG or PNG, concatenated,
    uint8), ``s_offset`` (image i is ``s_jpeg[s_offset[i]:s_offset[i + 1]]``) and ``s_label``; and
    for all splits ``name``, the names of the classes.

    Args:
        ann_file (str): Path of the file, relative to ``data_root``.
        split (str): The split. Defaults to ``'train'``.
        **kwargs: As in :class:`InMemoryDataset`.

    Raises:
        DatasetError: The file is missing, truncated or damaged, or has no such split.
    """

    def __init__(self, ann_file: str, split: str = 'train', **kwargs: Any) -> None:
        self.split = split
        super().__init__(ann_file=ann_file, **kwargs)

    def load_arrays(self) -> Tuple[np.ndarray, np.ndarray, List[str]]:
        path = self.ann_file
        if not os.path.isfile(path):
            raise DatasetError(
                f'data file "{path}" does not exist; put a packed image file there (folder '
                f'{os.path.abspath(os.path.dirname(path))}), or set another ann_file of the dataset'
            )
        names = [f'{self.split}_{part}' for part in ('jpeg', 'offset', 'label')] + ['name']
        try:
            with np.load(path, allow_pickle=False) as packed:
                present = sorted(packed.files)
                arrays = {name: packed[name] for name in names if name in present}
        except Exception as e:  # damaged bytes can raise anything
            raise DatasetError(
                f'data file "{path}" ({os.path.getsize(path)} bytes) is truncated or not a .npz '
                f'file; copy it again. ({str(e).splitlines()[0] if str(e) else e!r})'
            ) from e
        missing = [name for name in names if name not in arrays]
        if missing:
            raise DatasetError(
                f'"{path}" has no array {missing[0]}; it has {present}. Is split={self.split!r} '
                'right?'
            )
        data, offsets, labels, classes = arrays.values()
        images = [
            _decode(data[start:stop], f'image {i} of {self.split} in "{path}"')
            for i, (start, stop) in enumerate(zip(offsets[:-1], offsets[1:]))
        ]
        sizes = {image.shape for image in images}
        if len(sizes) > 1:
            raise DatasetError(f'"{path}" holds images of {len(sizes)} sizes; all must have one')
        return np.array(images), labels, [str(c) for c in classes]


def _decode(encoded: np.ndarray, name: str) -> np.ndarray:
    """Decode one file to (H, W, 3) uint8 RGB."""
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
    if image is None:
        raise DatasetError(f'{name} cannot be decoded: the file is damaged')
    return image[..., ::-1]


def pack_images(
    path: str, classes: Sequence[str], **splits: Tuple[Sequence[bytes], Sequence[int]]
) -> None:
    """Write a file that :class:`PackedImages` reads.

    Args:
        path (str): The file; it is replaced only when all is written.
        classes (Sequence[str]): Names of the classes.
        **splits: For each split ``(files, labels)``: encoded images and their class indices.
    """
    arrays = dict(name=np.array(classes))
    for split, (files, labels) in splits.items():
        arrays[f'{split}_jpeg'] = np.frombuffer(b''.join(files), np.uint8)
        arrays[f'{split}_offset'] = np.cumsum([0, *map(len, files)])
        arrays[f'{split}_label'] = np.asarray(labels, np.int64)
    with atomic_path(path) as temporary, open(temporary, 'wb') as f:
        np.savez(f, **arrays)  # type: ignore[arg-type]  # the stub reads them as allow_pickle
