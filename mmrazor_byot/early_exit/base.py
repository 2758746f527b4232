"""Exit policies: at which exit a sample stops.

A policy is given the probabilities of the exits reached so far, and no network. Its arguments are
plain numbers, so that it can be saved as JSON.
"""

import inspect
import warnings
from typing import Any, Dict, List, Optional, Sequence, Type

import torch
from torch import Tensor

from mmrazor_byot.errors import ConfigError, DeprecatedWarning

from .scores import softmax

#: All policies by name.
POLICY_TYPES: Dict[str, Type['ExitPolicy']] = {}
#: Names of a policy's methods in release 0.1.
OLD_NAMES = dict(
    reads='uses_exit', leaves='should_exit', larger_is_surer='higher_is_more_confident'
)


class ExitPolicy:
    """Base class of the exit policies.

    A subclass is added to ``POLICY_TYPES``, unless it is declared with ``abstract=True``.

    Args:
        temperatures (Sequence[float], optional): One for each exit, see :func:`softmax`. Defaults
            to 1 for all.
        ensemble (bool): Predict, and decide, by the mean of the exits reached instead of the last
            one. Defaults to False.

    Raises:
        ConfigError: A number is out of range.
    """

    def __init__(
        self, temperatures: Optional[Sequence[float]] = None, ensemble: bool = False
    ) -> None:
        if temperatures is not None:
            temperatures = [float(t) for t in temperatures]
            if not temperatures or not all(0 < t < 1e6 for t in temperatures):
                raise ConfigError(f'{self.name}: temperatures={temperatures}; must be positive')
        self.temperatures = temperatures
        self.ensemble = bool(ensemble)

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        old = OLD_NAMES.keys() & vars(cls).keys()
        for name in old:
            setattr(cls, OLD_NAMES[name], vars(cls)[name])
        if old:
            renamed = ', '.join(f'{name} is now {OLD_NAMES[name]}' for name in sorted(old))
            warnings.warn(f'{cls.__name__}: {renamed}', DeprecatedWarning, stacklevel=2)
        if not abstract:
            POLICY_TYPES[cls.__name__] = cls

    @property
    def name(self) -> str:
        """The ``type`` in a config."""
        return type(self).__name__

    def last(self, num_exits: int) -> int:
        """The deepest exit that is ever run, 1 to C."""
        return num_exits

    def uses_exit(self, exit_number: int) -> bool:
        """Whether the policy needs the logits of this exit."""
        return True

    def probabilities(self, logits: Tensor, exit_number: int) -> Tensor:
        """Calibrated softmax of an exit's logits, (N, K)."""
        if self.temperatures is None:
            return softmax(logits)
        return softmax(logits, self.temperatures[exit_number - 1])

    def answer(self, reached: List[Tensor]) -> Tensor:
        """The prediction (N, K) for samples that stop now.

        Args:
            reached (list[Tensor]): Probabilities (N, K) of the exits used so far, at least one.
        """
        return torch.stack(reached).mean(0) if self.ensemble else reached[-1]

    def should_exit(self, reached: List[Tensor], exit_number: int) -> Tensor:
        """Which samples stop at an exit that is used, (N,) bool.

        Args:
            reached (list[Tensor]): See :meth:`answer`.
            exit_number (int): The exit, from 1; never the last.
        """
        raise NotImplementedError

    def check(self, num_exits: int) -> None:
        """Raise a ConfigError if the policy is for another number of exits."""
        if self.temperatures is not None and len(self.temperatures) != num_exits:
            count = len(self.temperatures)
            raise ConfigError(
                f'{self.name}: {count} temperatures for a network of {num_exits} exits'
            )

    def config(self) -> dict:
        """The config from which :func:`build_policy` builds the policy again."""
        arguments = inspect.signature(type(self)).parameters
        return dict(type=self.name, **{name: getattr(self, name) for name in arguments})


def build_policy(config: dict) -> ExitPolicy:
    """Build a policy from its ``type``, with or without scope, and arguments.

    Raises:
        ConfigError: There is no such policy, or its arguments are wrong.
    """
    if not isinstance(config, dict) or 'type' not in config:
        raise ConfigError(f'an exit policy is a dict with type and arguments, not {config!r}')
    arguments = dict(config)
    name = str(arguments.pop('type')).split('.')[-1]
    if name not in POLICY_TYPES:
        raise ConfigError(f'there is no exit policy {name!r}; there are {sorted(POLICY_TYPES)}')
    try:
        return POLICY_TYPES[name](**arguments)
    except ConfigError:
        raise
    except (TypeError, ValueError, OverflowError) as e:
        raise ConfigError(f'{name} cannot take {arguments}: {e}') from e
