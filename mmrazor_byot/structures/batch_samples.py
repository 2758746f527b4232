"""The samples of a batch as whole tensors."""

from collections.abc import Sequence
from typing import Callable, Dict, Iterable, List, Union

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmrazor_byot.errors import DatasetError

#: One number a sample, which a DataSample holds as a tensor of shape (1,).
LABELS = ('gt_label', 'pred_label')
#: A Python number in a DataSample; here a tensor that stays on the CPU.
INDEX = 'sample_idx'


class BatchSamples(Sequence):
    """N samples of a batch, their fields whole tensors, in place of a list of ``DataSample``.

    Our code reads the fields, ``samples.gt_label``; other code indexes and iterates, and gets
    ``DataSample`` objects. From the first of these on the objects hold the values, so what is
    written into one is seen by all; a field is then put together at each reading.

    ``gt_label`` (N,) are class indices, ``gt_score`` (N, K) class probabilities of mixed labels,
    ``pred_label`` (N,) and ``pred_score`` (N, K) predictions, ``sample_idx`` (N,) the numbers in
    the data set; others may be added, such as ``exit_scores`` (N, C, K).

    Args:
        samples (Iterable[DataSample]): To be put together; or
        **fields (Tensor): The whole fields.

    Raises:
        ValueError: The fields are not equally long.

    Examples:
        >>> samples = BatchSamples(gt_label=torch.tensor([3, 5]))
        >>> samples[1].gt_label
        tensor([5])
        >>> samples[1].set_gt_label(7).gt_label, samples.gt_label
        (tensor([7]), tensor([3, 7]))
    """

    def __init__(self, samples: Iterable[DataSample] = (), **fields: Tensor) -> None:
        self._made: List[DataSample] = list(samples)
        self._whole: Dict[str, Tensor] = {}  # empty once samples are made
        self._count = len(self._made or next(iter(fields.values()), ()))
        self.set_fields(**fields)

    @classmethod
    def of(cls, samples: Sequence) -> 'BatchSamples':
        """The samples as they are, or a list of them put together."""
        return samples if isinstance(samples, cls) else cls(samples)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: Union[int, slice]) -> Union[DataSample, 'BatchSamples']:
        if isinstance(i, slice):
            return BatchSamples(self._made[i], **{k: v[i] for k, v in self._whole.items()})
        if not self._made:
            self._made = [DataSample() for _ in range(self._count)]
            fields, self._whole = self._whole, {}
            self.set_fields(**fields)
        return self._made[i]

    def __getattr__(self, name: str) -> Tensor:
        """A whole field."""
        if name.startswith('_') or not self.has(name):  # '_': also while it is being unpickled
            raise AttributeError(f'the samples of this batch have no {name}')
        if not self._made:
            return self._whole[name]
        values = [getattr(sample, name) for sample in self._made]
        if name == INDEX:
            return torch.tensor(values)
        if name not in LABELS:
            return torch.stack(values)
        whole = torch.cat(values)
        if len(whole) != self._count:
            raise DatasetError(
                f'{len(whole)} labels ({name}) of {self._count} images: each needs one'
            )
        return whole

    def has(self, name: str) -> bool:
        """Whether the samples have a field."""
        return all(name in s for s in self._made) if self._made else name in self._whole

    def set_fields(self, **fields: Tensor) -> 'BatchSamples':
        """Set whole fields.

        Args:
            **fields (Tensor): Name to values, (N, ...).

        Returns:
            BatchSamples: Itself.
        """
        for name, value in fields.items():
            if len(value) != self._count:
                raise ValueError(
                    f'{name} has {len(value)} rows, but there are {self._count} samples'
                )
            for i, sample in enumerate(self._made):
                _set(sample, name, value, i)
        if not self._made:
            self._whole = {**self._whole, **fields}
        return self

    def to(self, *args, **kwargs) -> 'BatchSamples':
        """The samples on another device, as ``Tensor.to``."""
        if self._made:
            return BatchSamples(sample.to(*args, **kwargs) for sample in self._made)
        return self._convert(lambda value: value.to(*args, **kwargs))

    def pin_memory(self) -> 'BatchSamples':
        """The samples in pinned memory; torch's data loader calls this."""
        return self if self._made else self._convert(Tensor.pin_memory)

    def _convert(self, function: Callable[[Tensor], Tensor]) -> 'BatchSamples':
        return BatchSamples(
            **{k: value if k == INDEX else function(value) for k, value in self._whole.items()}
        )

    def __repr__(self) -> str:
        shapes = ', '.join(f'{name} {tuple(value.shape)}' for name, value in self._whole.items())
        return f'<BatchSamples of {self._count}: {shapes or "DataSample objects"}>'


def _set(sample: DataSample, name: str, values: Tensor, i: int) -> None:
    """Set a field of a sample to row i of the whole one."""
    if name == INDEX:
        sample.set_metainfo({name: int(values[i])})
        return
    row = values[i : i + 1] if name in LABELS else values[i]
    setter = getattr(sample, f'set_{name}', None)
    if setter is not None:
        setter(row)
    else:
        sample.set_field(row, name)


def stack_targets(data_samples: Sequence[DataSample]) -> Tensor:
    """Labels of a batch, as the losses take them.

    Args:
        data_samples (BatchSamples | Sequence[DataSample]): N samples with ``gt_label``, or with
            ``gt_score`` if a batch augmentation mixed the labels.

    Returns:
        Tensor: Class indices (N,), or class probabilities (N, K).
    """
    samples = BatchSamples.of(data_samples)
    return samples.gt_score if samples.has('gt_score') else samples.gt_label
