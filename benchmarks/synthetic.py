"""Random images in the place of a data set that is not at hand."""

import os
from typing import List, Optional, Tuple

import numpy as np

from mmrazor_byot.datasets.in_memory import InMemoryDataset
from mmrazor_byot.registry import DATASETS

#: So many images as CIFAR-100 has, unless it is said how many.
COUNT = 50_000


@DATASETS.register_module()
class RandomImages(InMemoryDataset):
    """Noise, decoded and in memory.

    Args:
        count (int): How many images.
        size (int): Height and width.
        classes (int): How many classes; they take turns.
        **kwargs: As in ``InMemoryDataset``.
    """

    def __init__(self, count: int, size: int, classes: int, **kwargs) -> None:
        self.count, self.size, self.classes = count, size, classes
        super().__init__(**kwargs)

    def load_arrays(self) -> Tuple[np.ndarray, np.ndarray, List[str]]:
        shape = self.count, self.size, self.size, 3
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        names = [str(i) for i in range(self.classes)]
        return images, np.arange(self.count) % self.classes, names


def is_at_hand(dataset: dict) -> bool:
    """Whether the files of a data set are there.

    Args:
        dataset (dict): Its config; that of ``Digits`` needs none.
    """
    root = dataset.get('data_root') or ''
    path = os.path.join(root, dataset.get('ann_file') or '')
    return not path or os.path.exists(path)


def with_images(
    dataset: dict, count: Optional[int], size: int, classes: int, synthetic: bool
) -> Tuple[dict, bool]:
    """The config of a data set that can be read here, and is not too long.

    Args:
        dataset (dict): The recipe's; it may wrap another one.
        count (int, optional): At most so many images. Defaults to all.
        size (int): Height and width of random images.
        classes (int): Their classes.
        synthetic (bool): Random images even if the files are there.

    Returns:
        tuple[dict, bool]: A config, and whether its images are random.
    """
    if 'dataset' in dataset:
        inner, is_random = with_images(dataset['dataset'], count, size, classes, synthetic)
        return {**dataset, 'dataset': inner}, is_random
    if is_at_hand(dataset) and not synthetic:
        return (dataset if count is None else {**dataset, 'indices': count}), False
    random = dict(
        type='mmrazor_byot.RandomImages', count=count or COUNT, size=size, classes=classes
    )
    if 'pipeline' in dataset:  # the images need no file to be read
        random['pipeline'] = [t for t in dataset['pipeline'] if 'LoadImage' not in t['type']]
    return random, True
