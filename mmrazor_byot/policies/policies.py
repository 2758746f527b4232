"""Exit policies: which answer is good enough to stop at.

A policy sees the probabilities of the exits reached so far and knows no
network. Its arguments are plain numbers, so that a JSON file can hold it.
"""
import inspect
from numbers import Real
from typing import Dict, List, Optional, Sequence, Union

from mmrazor_byot.errors import ConfigError

from .scores import (
    Array,
    agreement,
    confidence,
    entropy,
    margin,
    namespace,
    softmax,
)

#: All policies by name.
POLICY_TYPES: Dict[str, type] = {}


class ExitPolicy:
    """Base of the exit policies.

    Args:
        temperatures (Sequence[float], optional): One for each exit, see
            :func:`softmax`. Defaults to 1 for all.
        ensemble (bool): Answer with the mean of the exits reached instead of
            the last one, and judge that mean. Defaults to False.

    Raises:
        ConfigError: A number is out of range.
    """

    def __init__(self,
                 temperatures: Optional[Sequence[float]] = None,
                 ensemble: bool = False) -> None:
        if temperatures is not None:
            temperatures = [float(t) for t in temperatures]
            if not temperatures or not all(0 < t < 1e6 for t in temperatures):
                raise ConfigError(f'{self.name}: temperatures={temperatures}; '
                                  'each must be positive')
        self.temperatures = temperatures
        self.ensemble = bool(ensemble)

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith('_'):
            POLICY_TYPES[cls.__name__] = cls

    @property
    def name(self) -> str:
        """Its type, as a config names it."""
        return type(self).__name__

    def last(self, num_exits: int) -> int:
        """The exit behind which nothing is ever run, 1 to C."""
        return num_exits

    def reads(self, exit_number: int) -> bool:
        """Whether the logits of this exit are of any use to the policy."""
        return True

    def probabilities(self, logits: Array, exit_number: int) -> Array:
        """Calibrated softmax of an exit's logits, (N, K)."""
        if self.temperatures is None:
            return softmax(logits)
        return softmax(logits, self.temperatures[exit_number - 1])

    def answer(self, reached: List[Array]) -> Array:
        """What to answer with.

        Args:
            reached (list[Array]): Probabilities (N, K) of the exits that
                were read, in their order; at least one.

        Returns:
            Array: Probabilities (N, K).
        """
        if not self.ensemble:
            return reached[-1]
        total = reached[0]
        for probabilities in reached[1:]:
            total = total + probabilities
        return total / len(reached)

    def leaves(self, reached: List[Array], exit_number: int) -> Array:
        """Which samples stop at an exit that was read.

        Args:
            reached (list[Array]): As for :meth:`answer`.
            exit_number (int): The exit, from 1; never the last.

        Returns:
            Array: (N,) bool.
        """
        raise NotImplementedError

    def check(self, num_exits: int) -> None:
        """See that it fits a network.

        Raises:
            ConfigError: It is for another number of exits.
        """
        given = self.temperatures
        if given is not None and len(given) != num_exits:
            raise ConfigError(f'{self.name}: {len(given)} temperatures for a '
                              f'network of {num_exits} exits')

    def config(self) -> dict:
        """What builds it again: ``type`` and arguments."""
        arguments = inspect.signature(type(self)).parameters
        return dict(
            type=self.name, **{name: getattr(self, name)
                               for name in arguments})


def _nobody(reached: List[Array]) -> Array:
    """No sample leaves: (N,) bool."""
    return namespace(reached[-1]).zeros_like(reached[-1][..., 0]) > 0


class FixedExitPolicy(ExitPolicy):
    """Stop at one exit; with ``ensemble``, answer with all up to it.

    Args:
        exit_number (int): 1 to C, or -1 for the deepest. Defaults to -1.
        temperatures, ensemble: As in :class:`ExitPolicy`.
    """

    def __init__(self,
                 exit_number: int = -1,
                 temperatures: Optional[Sequence[float]] = None,
                 ensemble: bool = False) -> None:
        super().__init__(temperatures, ensemble)
        self.exit_number = int(exit_number)
        whole = self.exit_number == exit_number
        if not whole or (exit_number < 1 and exit_number != -1):
            raise ConfigError(f'{self.name}: exit_number={exit_number!r}; '
                              'exits are counted from 1, -1 is the deepest')

    def last(self, num_exits: int) -> int:
        return num_exits if self.exit_number == -1 else self.exit_number

    def reads(self, exit_number: int) -> bool:
        return self.ensemble  # the last exit is read in any case

    def leaves(self, reached: List[Array], exit_number: int) -> Array:
        return _nobody(reached)  # all stop at the last

    def check(self, num_exits: int) -> None:
        super().check(num_exits)
        if self.exit_number > num_exits:
            raise ConfigError(f'{self.name}: exit_number={self.exit_number}, '
                              f'but the network has {num_exits} exits')


class _ThresholdPolicy(ExitPolicy):
    """Base of those that compare a score of the answer with a threshold.

    Args:
        thresholds (float | Sequence[float | None]): One for all exits, or
            one for each but the deepest. None: nobody stops there.
        temperatures, ensemble: As in :class:`ExitPolicy`.
    """

    #: Whether the surer answer is the one with the larger score.
    larger_is_surer = True

    def __init__(self,
                 thresholds: Union[float, Sequence[Optional[float]]],
                 temperatures: Optional[Sequence[float]] = None,
                 ensemble: bool = False) -> None:
        super().__init__(temperatures, ensemble)
        if isinstance(thresholds, Real):
            thresholds = float(thresholds)
        else:
            thresholds = [None if t is None else float(t) for t in thresholds]
        given = thresholds if isinstance(thresholds, list) else [thresholds]
        if not all(t is None or 0 <= t <= 1 for t in given):
            raise ConfigError(f'{self.name}: thresholds={thresholds}; each '
                              'must be from 0 to 1, or None')
        self.thresholds = thresholds

    def threshold(self, exit_number: int) -> Optional[float]:
        """The threshold of one exit."""
        if isinstance(self.thresholds, list):
            return self.thresholds[exit_number - 1]
        return self.thresholds

    def score(self, probabilities: Array) -> Array:
        """What is compared: (N, K) to (N,), from 0 to 1."""
        raise NotImplementedError

    def reads(self, exit_number: int) -> bool:
        return self.ensemble or self.threshold(exit_number) is not None

    def leaves(self, reached: List[Array], exit_number: int) -> Array:
        threshold = self.threshold(exit_number)
        if threshold is None:
            return _nobody(reached)
        score = self.score(self.answer(reached))
        if self.larger_is_surer:
            return score >= threshold
        return score <= threshold

    def check(self, num_exits: int) -> None:
        super().check(num_exits)
        given = self.thresholds
        if isinstance(given, list) and len(given) != num_exits - 1:
            raise ConfigError(
                f'{self.name}: {len(given)} thresholds for a network of '
                f'{num_exits} exits; it needs {num_exits - 1}, as the deepest '
                'has none')


class ConfidencePolicy(_ThresholdPolicy):
    """Stop where the largest probability reaches the exit's threshold."""

    def score(self, probabilities: Array) -> Array:
        return confidence(probabilities)


class MarginPolicy(_ThresholdPolicy):
    """Stop where the two largest probabilities are far enough apart."""

    def score(self, probabilities: Array) -> Array:
        return margin(probabilities)


class EntropyPolicy(_ThresholdPolicy):
    """Stop where the entropy, a share of log K, is small enough."""

    larger_is_surer = False

    def score(self, probabilities: Array) -> Array:
        return entropy(probabilities)


class PatiencePolicy(ExitPolicy):
    """Stop where the last exits give the same answer.

    Args:
        patience (int): How many exits in a row must agree. Defaults to 2.
        temperatures, ensemble: As in :class:`ExitPolicy`.
    """

    def __init__(self,
                 patience: int = 2,
                 temperatures: Optional[Sequence[float]] = None,
                 ensemble: bool = False) -> None:
        super().__init__(temperatures, ensemble)
        self.patience = int(patience)
        if self.patience != patience or patience < 1:
            raise ConfigError(f'{self.name}: patience={patience!r}; it must '
                              'be a whole number, at least 1')

    def leaves(self, reached: List[Array], exit_number: int) -> Array:
        xp = namespace(reached[-1])
        labels = xp.stack([xp.argmax(p, -1) for p in reached], -1)
        return agreement(labels) >= self.patience


def build_policy(config: dict) -> ExitPolicy:
    """Build a policy.

    Args:
        config (dict): ``type``, with or without scope, and arguments.

    Raises:
        ConfigError: There is no such policy, or it takes no such argument.
    """
    if not isinstance(config, dict) or 'type' not in config:
        raise ConfigError(f'an exit policy is a dict with type and arguments, '
                          f'not {config!r}')
    arguments = dict(config)
    name = str(arguments.pop('type')).split('.')[-1]
    if name not in POLICY_TYPES:
        raise ConfigError(f'there is no exit policy {name!r}; there are '
                          f'{sorted(POLICY_TYPES)}')
    try:
        return POLICY_TYPES[name](**arguments)
    except ConfigError:
        raise
    except (TypeError, ValueError) as e:
        raise ConfigError(f'{name} cannot take {arguments}: {e}') from e
