"""One file with all the images of a small data set."""

import os
from typing import List, Tuple

import cv2
import numpy as np

from mmrazor_byot.errors import DatasetError
from mmrazor_byot.files import atomic_path
from mmrazor_byot.registry import DATASETS

from .in_memory import InMemoryDataset


@DATASETS.register_module()
class PackedImages(InMemoryDataset):
    """Encoded images of equal size packed into one ``.npz`` file.

    For each split s the file has the arrays ``s_jpeg`` (all files, JPEG or PNG, one after the
    other, uint8), ``s_offset`` (image i is ``s_jpeg[s_offset[i]:s_offset[i + 1]]``) and
    ``s_label``; and for all splits ``name``, the names of the classes. :func:`pack_images` writes
    it.

    Args:
        ann_file (str): The file; ``data_root`` is put before it.
        split (str): The split. Defaults to ``'train'``.
        **kwargs: As in :class:`InMemoryDataset`.

    Raises:
        DatasetError: The file is missing, empty, truncated or no such file.
    """

    def __init__(self, ann_file: str, split: str = 'train', **kwargs):
        self.split = split
        super().__init__(ann_file=ann_file, **kwargs)

    def load_arrays(self) -> Tuple[np.ndarray, np.ndarray, List[str]]:
        """Read the split, see :class:`InMemoryDataset`."""
        path = self.ann_file
        if not os.path.isfile(path):
            raise DatasetError(
                f'data file "{path}" does not exist; put a packed image file there (folder '
                f"{os.path.abspath(os.path.dirname(path))}), or give the dataset's ann_file "
                'another path'
            )
        try:
            with np.load(path, allow_pickle=False) as packed:
                names = [f'{self.split}_{part}' for part in ('jpeg', 'offset', 'label')] + ['name']
                missing = [n for n in names if n not in packed]
                if missing:
                    raise DatasetError(
                        f'"{path}" has no array {missing[0]}; it has {sorted(packed.files)}. Is '
                        f'split={self.split!r} right?'
                    )
                data, offsets, labels, classes = (packed[n] for n in names)
        except DatasetError:
            raise
        except Exception as e:  # what broken bytes lead to can be anything
            raise DatasetError(
                f'data file "{path}" ({os.path.getsize(path)} bytes) is truncated or no .npz file; '
                f'copy it again. ({str(e).splitlines()[0] if str(e) else e!r})'
            ) from e
        images = [
            _decode(data[start:stop], f'image {i} of {self.split} in "{path}"')
            for i, (start, stop) in enumerate(zip(offsets[:-1], offsets[1:]))
        ]
        sizes = {image.shape for image in images}
        if len(sizes) > 1:
            raise DatasetError(f'"{path}" holds images of {len(sizes)} sizes; an array needs one')
        return np.array(images), labels, [str(c) for c in classes]


def _decode(encoded: np.ndarray, name: str) -> np.ndarray:
    """Decode one file to (H, W, 3) uint8 RGB."""
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
    if image is None:
        raise DatasetError(f'{name} does not decode: the file is damaged')
    return image[..., ::-1]


def pack_images(path: str, classes: List[str], **splits) -> None:
    """Write a file that :class:`PackedImages` reads.

    Args:
        path (str): The file; it appears only when all is written.
        classes (list[str]): Names of the classes.
        **splits: For each split ``(files, labels)``: encoded images (bytes) and their class
            numbers.
    """
    arrays = dict(name=np.array(classes))
    for split, (files, labels) in splits.items():
        arrays[f'{split}_jpeg'] = np.frombuffer(b''.join(files), np.uint8)
        arrays[f'{split}_offset'] = np.cumsum([0, *map(len, files)])
        arrays[f'{split}_label'] = np.asarray(labels, np.int64)
    with atomic_path(path) as temporary, open(temporary, 'wb') as f:
        np.savez(f, **arrays)
