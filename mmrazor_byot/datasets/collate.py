"""From what a data set gives to a batch."""

from typing import Sequence, Union

import torch

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import FUNCTIONS
from mmrazor_byot.structures import BatchSamples


class WholeBatch(dict):
    """A whole batch: ``inputs`` (N, 3, H, W) and ``data_samples``, a :class:`BatchSamples`."""

    def __missing__(self, key):
        # Other collate functions take it for a list of samples.
        if not isinstance(key, int):
            raise KeyError(key)
        raise ConfigError(
            'ImageBatches gives whole batches: set '
            'collate_fn=dict(type="mmrazor_byot.collate_batch") of its data loader'
        )


@FUNCTIONS.register_module()
def collate_batch(batch: Union[WholeBatch, Sequence[dict]]) -> dict:
    """Pass on a batch that is whole, or put one together.

    Args:
        batch (WholeBatch | Sequence[dict]): Of :class:`ImageBatches`; or N samples of any other
            data set.

    Returns:
        dict: ``inputs`` (N, 3, H, W) and ``data_samples``, a :class:`BatchSamples`.

    Raises:
        DatasetError: The images are not of one size.
    """
    if isinstance(batch, dict):
        return batch
    return WholeBatch(
        inputs=stack_images([sample['inputs'] for sample in batch]),
        data_samples=BatchSamples(sample['data_samples'] for sample in batch),
    )


def stack_images(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Images (3, H, W) as one tensor (N, 3, H, W).

    Raises:
        DatasetError: They are not of one size.
    """
    sizes = {tuple(image.shape) for image in images}
    if len(sizes) > 1:
        raise DatasetError(
            f'the images of a batch have the sizes {sorted(sizes)}; a batch takes one'
        )
    return torch.stack(list(images))
