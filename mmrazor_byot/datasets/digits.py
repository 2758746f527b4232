"""Handwritten digits that scikit-learn carries: no download."""

from typing import List, Tuple

import numpy as np

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import DATASETS

from .in_memory import InMemoryDataset


@DATASETS.register_module()
class Digits(InMemoryDataset):
    """The 1,797 digits of scikit-learn's ``load_digits``, as 32 x 32 RGB.

    They are 8 x 8 with 17 grey levels; here each is enlarged four times, bilinearly. A fixed third,
    drawn class by class with a seed of its own, is the test split, and is never trained on.

    Args:
        split (str): ``'train'`` (1,198 images) or ``'test'`` (599).
        **kwargs: As in :class:`InMemoryDataset`.

    Raises:
        ConfigError: No such split.
    """

    def __init__(self, split: str = 'train', **kwargs):
        if split not in ('train', 'test'):
            raise ConfigError(f'Digits(split={split!r}): choose from "train" and "test"')
        self.split = split
        super().__init__(**kwargs)

    def load_arrays(self) -> Tuple[np.ndarray, np.ndarray, List[str]]:
        """Read the split, see :class:`InMemoryDataset`."""
        import cv2
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        train, test = train_test_split(
            np.arange(len(digits.target)), test_size=1 / 3, random_state=0, stratify=digits.target
        )
        chosen = np.sort(train if self.split == 'train' else test)
        grey = (digits.images[chosen] * (255 / 16)).round().astype(np.uint8)
        large = np.stack(
            [cv2.resize(image, (32, 32), interpolation=cv2.INTER_LINEAR) for image in grey]
        )
        images = np.repeat(large[..., None], 3, axis=-1)
        return images, digits.target[chosen], list('0123456789')
