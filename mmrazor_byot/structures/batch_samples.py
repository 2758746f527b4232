"""The samples of a batch as stacked tensors."""

from collections.abc import Sequence
from typing import Any, Callable, Dict, Iterable, List, Union

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmrazor_byot.errors import DatasetError

#: One number a sample, which a DataSample holds as a tensor of shape (1,).
LABELS = ('gt_label', 'pred_label')
#: A Python number in a DataSample; here a tensor that stays on the CPU.
INDEX = 'sample_idx'


class BatchSamples(Sequence):
    """The N samples of a batch as one object, instead of a list of ``DataSample``.

    ``samples.gt_label`` is the stacked field of all samples. For code that expects a list, indexing
    and iterating return ``DataSample`` objects. The first such access moves the values into these
    objects, so that changes to them are kept; from then on each access to a field stacks it anew.

    ``gt_label`` (N,) are class indices, ``gt_score`` (N, K) class probabilities of mixed labels,
    ``pred_label`` (N,) and ``pred_score`` (N, K) predictions, ``sample_idx`` (N,) indices into the
    data set; others can be added, such as ``exit_scores`` (N, C, K).

    Args:
        samples (Iterable[DataSample]): The samples to stack; or
        **fields (Tensor): The stacked fields.

    Raises:
        ValueError: The fields differ in length.

    Examples:
        >>> samples = BatchSamples(gt_label=torch.tensor([3, 5]))
        >>> samples[1].gt_label
        tensor([5])
        >>> samples[1].set_gt_label(7).gt_label, samples.gt_label
        (tensor([7]), tensor([3, 7]))
    """

    def __init__(self, samples: Iterable[DataSample] = (), **fields: Tensor) -> None:
        self._samples: List[DataSample] = list(samples)
        self._stacked: Dict[str, Tensor] = {}  # empty once there are samples
        self._count = len(self._samples)
        if fields and not self._samples:
            self._count = len(next(iter(fields.values())))
        self.set_fields(**fields)

    @classmethod
    def of(cls, samples: Sequence) -> 'BatchSamples':
        """Stack a list of samples; BatchSamples are returned as they are."""
        return samples if isinstance(samples, cls) else cls(samples)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: Union[int, slice]) -> Union[DataSample, 'BatchSamples']:
        if isinstance(i, slice):
            return BatchSamples(self._samples[i], **{k: v[i] for k, v in self._stacked.items()})
        if not self._samples:
            self._samples = [DataSample() for _ in range(self._count)]
            fields, self._stacked = self._stacked, {}
            self.set_fields(**fields)
        return self._samples[i]

    def __getattr__(self, name: str) -> Tensor:
        """A stacked field."""
        if name.startswith('_') or not self.has(name):  # '_': also while it is being unpickled
            raise AttributeError(f'the samples of this batch have no {name}')
        if not self._samples:
            return self._stacked[name]
        values = [getattr(sample, name) for sample in self._samples]
        if name == INDEX:
            return torch.tensor(values)
        if name not in LABELS:
            return torch.stack(values)
        for i, value in enumerate(values):
            if len(value) != 1:
                raise DatasetError(f'image {i} of a batch has {len(value)} labels ({name}), not 1')
        return torch.cat(values)

    def has(self, name: str) -> bool:
        """Whether all samples have a field."""
        if self._samples:
            return all(name in sample for sample in self._samples)
        return name in self._stacked

    def set_fields(self, **fields: Tensor) -> 'BatchSamples':
        """Set stacked fields (N, ...) and return self; ValueError for another number of rows."""
        for name, value in fields.items():
            if len(value) != self._count:
                raise ValueError(f'{name} has {len(value)} rows for {self._count} samples')
            for i, sample in enumerate(self._samples):
                _set_field(sample, name, value, i)
        if not self._samples:
            self._stacked = {**self._stacked, **fields}
        return self

    def to(self, *args: Any, **kwargs: Any) -> 'BatchSamples':
        """Move or cast the samples; arguments as of ``Tensor.to``."""
        if self._samples:
            return BatchSamples(sample.to(*args, **kwargs) for sample in self._samples)
        return self._apply(lambda value: value.to(*args, **kwargs))

    def pin_memory(self) -> 'BatchSamples':
        """Copy the samples to pinned memory; torch's DataLoader calls this."""
        return self if self._samples else self._apply(Tensor.pin_memory)

    def _apply(self, function: Callable[[Tensor], Tensor]) -> 'BatchSamples':
        return BatchSamples(
            **{k: value if k == INDEX else function(value) for k, value in self._stacked.items()}
        )

    def __repr__(self) -> str:
        shapes = ', '.join(f'{name} {tuple(value.shape)}' for name, value in self._stacked.items())
        return f'<BatchSamples of {self._count}: {shapes or "DataSample objects"}>'


def _set_field(sample: DataSample, name: str, values: Tensor, i: int) -> None:
    """Set a field of a sample to row i of the stacked one."""
    if name == INDEX:
        sample.set_metainfo({name: int(values[i])})
        return
    row = values[i : i + 1] if name in LABELS else values[i]
    if hasattr(sample, f'set_{name}'):
        getattr(sample, f'set_{name}')(row)
    else:
        sample.set_field(row, name)


def stack_targets(data_samples: Sequence[DataSample]) -> Tensor:
    """Class indices (N,) of a batch, or probabilities (N, K) where its labels are mixed.

    Raises:
        DatasetError: There are no labels.
    """
    samples = BatchSamples.of(data_samples)
    if samples.has('gt_score'):
        return samples.gt_score
    if not samples.has('gt_label'):
        raise DatasetError(
            'the images have no labels (gt_label), which label losses need; without, only exits '
            'of a frozen network learn: freeze_architecture=True and label_loss=None'
        )
    return samples.gt_label
