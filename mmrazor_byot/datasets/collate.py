"""From what a data set gives to a batch."""

from typing import Sequence, Union

import torch

from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.registry import FUNCTIONS
from mmrazor_byot.structures import BatchSamples


class WholeBatch(dict):
    """A batch that is put together already.

    ``inputs`` (N, 3, H, W) and ``data_samples``, a :class:`BatchSamples`.
    """

    def __missing__(self, key):
        """Other collate functions take it for a list of samples."""
        if not isinstance(key, int):
            raise KeyError(key)
        raise ConfigError(
            'ImageBatches gives whole batches: set '
            'collate_fn=dict(type="mmrazor_byot.collate_batch") of its data loader'
        )

    def pin_memory(self) -> 'WholeBatch':
        """The batch in pinned memory; torch's data loader calls this.

        Raises:
            ConfigError: It is on the GPU.
        """
        if self['inputs'].is_cuda:
            raise ConfigError(
                'ImageBatches keeps the images on the GPU: set pin_memory=False of its data loader'
            )
        return WholeBatch({name: value.pin_memory() for name, value in self.items()})


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
