"""Collates the samples of a data set into a batch."""

from typing import NoReturn, Sequence, Union

import torch

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import FUNCTIONS
from mmrazor_byot.structures import BatchSamples


class CollatedBatch(dict):
    """A batch: ``inputs`` (N, 3, H, W) and ``data_samples``, a :class:`BatchSamples`."""

    def __missing__(self, key: object) -> NoReturn:
        # Other collate functions index it as if it were a list of samples.
        if not isinstance(key, int):
            raise KeyError(key)
        raise ConfigError(
            'ImageBatches returns collated batches: set '
            'collate_fn=dict(type="mmrazor_byot.collate_batch") of its data loader'
        )


@FUNCTIONS.register_module()
def collate_batch(batch: Union[CollatedBatch, Sequence[dict]]) -> dict:
    """Collate samples; a batch that is collated already is returned as it is.

    Args:
        batch (CollatedBatch | Sequence[dict]): A batch of :class:`ImageBatches`, or N samples of
            any other data set.

    Raises:
        DatasetError: The images differ in size.
    """
    if isinstance(batch, dict):
        return batch
    return CollatedBatch(
        inputs=stack_images([sample['inputs'] for sample in batch]),
        data_samples=BatchSamples(sample['data_samples'] for sample in batch),
    )


def stack_images(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Stack images (3, H, W) to one tensor (N, 3, H, W).

    Raises:
        DatasetError: The images differ in size.
    """
    sizes = {tuple(image.shape) for image in images}
    if len(sizes) > 1:
        raise DatasetError(
            f'the images of a batch have the sizes {sorted(sizes)}; they must all have the same'
        )
    return torch.stack(list(images))
