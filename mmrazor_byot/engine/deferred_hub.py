"""A message hub that looks at tensors only when someone reads them."""

from typing import Dict, List, Optional, Tuple, Union

import numpy as np
from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor

from .fetch import Number, fetch

#: So many values are kept at most before they are fetched unasked.
LIMIT = 20_000

Value = Union[Tensor, Number]


class DeferredMessageHub(MessageHub):
    """MMEngine's message hub without a wait for the GPU at every scalar.

    MMEngine's calls ``.item()`` on each loss of each iteration, and copies the whole history to
    append one number. This one notes what it is given; whoever reads a scalar (the log, a
    checkpoint, a hook of the user's) gets MMEngine's exact numbers, fetched from the device in one
    transfer.

    A noted tensor must not be changed in place. A ``HistoryBuffer`` that is held on to gets its new
    numbers when the hub is read next.

    A runner makes its hub by itself and others hold on to it, so there is no constructor:
    :meth:`take_over` changes the class of the hub there is.
    """

    _noted: Dict[str, List[Tuple[Value, int]]]
    _iterations: List[Dict[str, Value]]  # each as note_iteration got it
    _names: Dict[str, str]  # its keys, and those of their histories
    _count: int

    @classmethod
    def take_over(cls, hub: MessageHub) -> None:
        """Let a hub defer from now on.

        Args:
            hub (MessageHub): The runner's.
        """
        if not isinstance(hub, cls):
            hub.__class__ = cls
            hub._noted, hub._iterations, hub._names = {}, [], {}
            hub._count = 0

    def update_scalar(
        self,
        key: str,
        value: Union[Value, np.ndarray, np.number],
        count: int = 1,
        resumed: bool = True,
    ) -> None:
        """Note a value, see :meth:`MessageHub.update_scalar`."""
        value = self._as_noted(value)
        assert isinstance(count, int), f'The type of count must be int. but got {type(count)}'
        self._place(key, resumed)
        if key in self._names.values():
            self._unfold()
        self._noted.setdefault(key, []).append((value, count))
        self._counted(1)

    def note_iteration(self, outputs: Dict[str, Value]) -> None:
        """Note all that an iteration gives to the log, in one go.

        Args:
            outputs (dict): What ``train_step`` returned; the value of ``loss`` goes to the history
                ``train/loss``.
        """
        if outputs.keys() != self._names.keys():
            self._unfold()
            self._names = {name: f'train/{name}' for name in outputs}
            for key in self._names.values():
                self._place(key, True)
        self._iterations.append({name: self._as_noted(value) for name, value in outputs.items()})
        self._counted(len(outputs))

    def flush(self, key: Optional[str] = None) -> None:
        """Bring the histories up to date.

        Args:
            key (str, optional): Only this one is wanted: where it is no tensor, the others wait.
        """
        noted = {}
        if key is None or self._is_tensor(key):
            self._unfold()
            noted, self._noted, self._count = self._noted, noted, 0
        elif key in self._noted:
            noted[key] = self._noted.pop(key)
        values = iter(fetch([v for e in noted.values() for v, _ in e]))
        for name, entries in noted.items():
            extend(
                self._log_scalars[name],
                [next(values) for _ in entries],
                [count for _, count in entries],
            )

    @property
    def log_scalars(self) -> Dict[str, HistoryBuffer]:
        """All histories, up to date."""
        self.flush()
        return super().log_scalars

    def get_scalar(self, key: str) -> HistoryBuffer:
        """One history, up to date."""
        if key not in self._log_scalars:
            return super().get_scalar(key)  # says so
        self.flush(key)
        return self._log_scalars[key]

    def state_dict(self) -> dict:
        """What a checkpoint keeps."""
        self.flush()
        return super().state_dict()

    def load_state_dict(self, state_dict: Union[MessageHub, dict]) -> None:
        """Resume; what was noted before counts as before."""
        self.flush()
        super().load_state_dict(state_dict)

    def _as_noted(self, value: Union[Value, np.ndarray, np.number]) -> Value:
        if not isinstance(value, Tensor):
            return self._get_valid_value(value)
        assert value.numel() == 1
        value = value.detach() if value.requires_grad else value
        return value.reshape(()) if value.ndim else value

    def _place(self, key: str, resumed: bool) -> None:
        self._set_resumed_keys(key, resumed)
        if key not in self._log_scalars:  # its place in the log
            self._log_scalars[key] = HistoryBuffer()

    def _counted(self, count: int) -> None:
        self._count += count
        if self._count > LIMIT:
            self.flush()

    def _is_tensor(self, key: str) -> bool:
        if self._iterations and key in self._names.values():
            return True
        return any(isinstance(v, Tensor) for v, _ in self._noted.get(key, ()))

    def _unfold(self) -> None:
        """Bring what was noted of whole iterations to the single values."""
        for outputs in self._iterations:
            for name, value in outputs.items():
                self._noted.setdefault(self._names[name], []).append((value, 1))
        self._iterations = []


def extend(buffer: HistoryBuffer, values: List[Number], counts: List[int]) -> None:
    """Many times ``HistoryBuffer.update``, at the price of one.

    Args:
        buffer (HistoryBuffer): It is changed.
        values (list[int | float]): New numbers.
        counts (list[int]): What each counts.
    """
    log, weight = np.array(values), np.array(counts)
    if len(buffer.data[0]):  # else the numbers say what dtype it has
        log = np.append(buffer.data[0], log)
        weight = np.append(buffer.data[1], weight)
    buffer._log_history = log[-buffer.max_length :]
    buffer._count_history = weight[-buffer.max_length :]
