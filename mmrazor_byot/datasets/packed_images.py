"""A small data set whose images are packed into one file."""

import os
from typing import Any, List, Sequence, Tuple

import cv2
import numpy as np

from mmrazor_byot.errors import DatasetError
from mmrazor_byot.files import atomic_path
from mmrazor_byot.registry import DATASETS

from .in_memory import InMemoryDataset, checked_labels


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
        sizes = np.diff(offsets) if offsets.ndim == 1 and offsets.dtype.kind in 'iu' else []
        whole = len(sizes) and offsets[0] == 0 and min(sizes) >= 0 and offsets[-1] == data.size
        if not whole or data.dtype != np.uint8 or data.ndim != 1 or classes.ndim != 1:
            raise DatasetError(
                f'"{path}" is damaged: {names[0]} is {data.dtype} {data.shape}, {names[1]} '
                f'{offsets.dtype} {offsets.shape}, name {classes.shape}; write it by pack_images'
            )
        files = [data[start:stop] for start, stop in zip(offsets[:-1], offsets[1:])]
        return _decode(files, f'{self.split} in "{path}"'), labels, [str(c) for c in classes]


def _decode(files: Sequence[np.ndarray], name: str) -> np.ndarray:
    """Decode files to images (M, H, W, 3) uint8 RGB."""
    images = []
    for i, file in enumerate(files):
        image = cv2.imdecode(file, cv2.IMREAD_COLOR) if len(file) else None
        if image is None:
            raise DatasetError(
                f'image {i} of {name} cannot be decoded: it is damaged, or not a JPEG or PNG file'
            )
        images.append(image[..., ::-1])
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise DatasetError(f'{name} has images of {len(sizes)} sizes; all must have one')
    return np.array(images)


def pack_images(
    path: str, classes: Sequence[str], **splits: Tuple[Sequence[bytes], Sequence[int]]
) -> None:
    """Write a file that :class:`PackedImages` reads.

    Args:
        path (str): The file; it is replaced only when all is written.
        classes (Sequence[str]): Names of the classes.
        **splits: For each split ``(files, labels)``: encoded images and their class indices.

    Raises:
        DatasetError: A file is not an image, images differ in size, or the labels do not fit.
    """
    arrays = dict(name=np.array(classes))
    for split, (files, labels) in splits.items():
        name = f'{split} in "{path}"'
        if not isinstance(files, Sequence):
            raise DatasetError(f'{name}: the files are {type(files).__name__}, not a list of bytes')
        arrays[f'{split}_label'] = checked_labels(labels, len(files), len(classes), name)
        for i, file in enumerate(files):
            if not isinstance(file, (bytes, bytearray)):
                raise DatasetError(
                    f'image {i} of {name} is a {type(file).__name__}; give the bytes of the file'
                )
        _decode([np.frombuffer(file, np.uint8) for file in files], name)
        arrays[f'{split}_jpeg'] = np.frombuffer(b''.join(files), np.uint8)
        arrays[f'{split}_offset'] = np.cumsum([0, *map(len, files)])
    with atomic_path(path) as temporary, open(temporary, 'wb') as f:
        np.savez(f, **arrays)  # type: ignore[arg-type]  # the stub reads them as allow_pickle
