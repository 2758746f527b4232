"""The samples of a batch as whole tensors."""

from collections.abc import Sequence
from typing import Any, Dict, Iterable, Tuple, Union

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmrazor_byot.errors import DatasetError

#: One number a sample, which a DataSample holds as a tensor of shape (1,).
LABELS = ('gt_label', 'pred_label')
#: A number for people: it is no tensor in a DataSample, and no GPU's.
INDEX = 'sample_idx'


class BatchSamples(Sequence):
    """N samples of a batch, their fields whole tensors.

    It stands where a list of ``DataSample`` would. Our code reads the fields, ``samples.gt_label``;
    other code indexes and iterates, and gets real ``DataSample`` objects. They are made when asked
    for and then kept, so what is written into one is seen by all, the whole fields included.

    ============== ========= =======================================
    ``gt_label``   (N,)      class indices ``gt_score``   (N, K)    class probabilities, of mixed
    labels ``pred_label`` (N,)      the answers ``pred_score`` (N, K)    softmax of the answer other
    (N, ...)  such as ``exit_scores`` (N, C, K) ``sample_idx`` (N,)      numbers in the data set;
    always on the CPU
    ============== ========= =======================================

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
        # Number of a sample to it, and to what it held when it was made.
        self._made: Dict[int, Tuple[DataSample, Dict[str, Any]]] = {
            i: (sample, {}) for i, sample in enumerate(samples)
        }
        self._whole: Dict[str, Tensor] = {}
        self._count = len(self._made)
        if fields and not self._made:
            self._count = len(next(iter(fields.values())))
        self.set_fields(**fields)

    @classmethod
    def of(cls, samples: Sequence) -> 'BatchSamples':
        """The samples as they are, or a list of them put together."""
        return samples if isinstance(samples, cls) else cls(samples)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: Union[int, slice]) -> Any:
        """One sample; or some, put together again."""
        if isinstance(i, slice):
            return self._slice(i)
        i = range(self._count)[i]
        if i not in self._made:
            sample = DataSample()
            for name, value in self._whole.items():
                _put(sample, name, value, i)
            self._made[i] = sample, dict(sample.all_items())
        return self._made[i][0]

    def __getattr__(self, name: str) -> Tensor:
        """A whole field."""
        if name.startswith('_'):  # also while it is being unpickled
            raise AttributeError(name)
        if name in self._whole and all(
            sample.get(name) is held.get(name) for sample, held in self._made.values()
        ):
            return self._whole[name]
        if not self.has(name):
            raise AttributeError(f'the samples of this batch have no {name}')
        return _put_together(name, [getattr(s, name) for s in self])

    def has(self, name: str) -> bool:
        """Whether the samples have a field."""
        return name in self._whole or (len(self._made) == self._count > 0 and name in self[0])

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
        self._whole.update(fields)
        for i, (sample, held) in self._made.items():
            for name, value in fields.items():
                _put(sample, name, value, i)
                held[name] = sample.get(name)
                if 'num_classes' in sample:
                    held['num_classes'] = sample.get('num_classes')
        return self

    def to(self, *args, **kwargs) -> 'BatchSamples':
        """The samples on another device, as ``Tensor.to``."""
        if not self._untouched():
            return BatchSamples(s.to(*args, **kwargs) for s in self)
        return self._each(lambda value: value.to(*args, **kwargs))

    def pin_memory(self) -> 'BatchSamples':
        """The samples in pinned memory; torch's data loader calls this."""
        if not self._untouched():
            return self
        return self._each(Tensor.pin_memory)

    def _each(self, change) -> 'BatchSamples':
        return BatchSamples(
            **{
                name: value if name == INDEX else change(value)
                for name, value in self._whole.items()
            }
        )

    def _slice(self, part: slice) -> 'BatchSamples':
        if self._untouched():
            return BatchSamples(**{name: value[part] for name, value in self._whole.items()})
        return BatchSamples([self[i] for i in range(*part.indices(self._count))])

    def _untouched(self) -> bool:
        """Whether the whole fields say all: nobody wrote into a sample."""
        return all(
            set(sample.all_keys()) == set(held)
            and all(sample.get(name) is value for name, value in held.items())
            for sample, held in self._made.values()
        )

    def __getstate__(self) -> dict:
        """Without the samples that can be made again."""
        if self._untouched():
            # A tensor's way between processes is a file; an array's is not.
            whole = {
                name: value.numpy() if _is_plain(value) else value
                for name, value in self._whole.items()
            }
            return dict(_whole=whole, _count=self._count, _made={})
        return dict(
            _whole={}, _count=self._count, _made={i: (sample, {}) for i, sample in enumerate(self)}
        )

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._whole = {name: torch.as_tensor(value) for name, value in self._whole.items()}

    def __repr__(self) -> str:
        fields = ', '.join(f'{name} {tuple(value.shape)}' for name, value in self._whole.items())
        return f'<BatchSamples of {self._count}: {fields}>'


def _is_plain(value: Tensor) -> bool:
    return value.device.type == 'cpu' and not value.is_floating_point()


def _put(sample: DataSample, name: str, value: Tensor, i: int) -> None:
    """Set a field of a sample to row i of the whole one."""
    if name == INDEX:
        sample.set_field(int(value[i]), name, field_type='metainfo')
        return
    row = value[i : i + 1] if name in LABELS else value[i]
    setter = getattr(sample, f'set_{name}', None)
    if setter is not None:
        setter(row)
    else:
        sample.set_field(row, name)


def _put_together(name: str, values: list) -> Tensor:
    """The whole field, from what each sample holds."""
    if name == INDEX:
        return torch.tensor(values)
    if name not in LABELS:
        return torch.stack(values)
    whole = torch.cat(values)
    if len(whole) != len(values):
        raise DatasetError(f'{len(whole)} labels ({name}) of {len(values)} images: each needs one')
    return whole


def stack_targets(data_samples: Sequence[DataSample]) -> Tensor:
    """Labels of a batch, as the losses take them.

    Args:
        data_samples (BatchSamples | Sequence[DataSample]): N samples with ``gt_label``, or with
            ``gt_score`` where a batch augmentation mixed the labels.

    Returns:
        Tensor: Class indices (N,), or class probabilities (N, K).
    """
    samples = BatchSamples.of(data_samples)
    return samples.gt_score if samples.has('gt_score') else samples.gt_label
