"""The handwritten digits of scikit-learn, which need no download."""

from typing import Any, List, Tuple

import cv2
import numpy as np

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import DATASETS

from .in_memory import InMemoryDataset


@DATASETS.register_module()
class Digits(InMemoryDataset):
    """The 1,797 digits of scikit-learn's ``load_digits``, as 32 x 32 RGB images.

    The originals are 8 x 8 with 17 gray levels; they are enlarged four times, bilinearly. A third
    of each class, drawn with a fixed seed, is the test split.

    Args:
        split (str): ``'train'`` (1,198 images) or ``'test'`` (599). Defaults to ``'train'``.
        **kwargs: As in :class:`InMemoryDataset`.

    Raises:
        ConfigError: There is no such split.
    """

    def __init__(self, split: str = 'train', **kwargs: Any) -> None:
        if split not in ('train', 'test'):
            raise ConfigError(f'Digits(split={split!r}): choose from "train" and "test"')
        self.split = split
        super().__init__(**kwargs)

    def load_arrays(self) -> Tuple[np.ndarray, np.ndarray, List[str]]:
        from sklearn import datasets, model_selection  # type: ignore[import-untyped]

        digits = datasets.load_digits()
        train, test = model_selection.train_test_split(
            np.arange(len(digits.target)), test_size=1 / 3, random_state=0, stratify=digits.target
        )
        chosen = np.sort(train if self.split == 'train' else test)
        gray = (digits.images[chosen] * (255 / 16)).round().astype(np.uint8)
        large = [cv2.resize(image, (32, 32), interpolation=cv2.INTER_LINEAR) for image in gray]
        images = np.repeat(np.stack(large)[..., None], 3, axis=-1)
        return images, digits.target[chosen], list('0123456789')
