"""Run a network stage by stage, and let samples leave."""
from typing import Any, List, NamedTuple, Optional, Tuple

import numpy as np

from .base import ExitPolicy
from .scores import Array, namespace


class EarlyExit(NamedTuple):
    """What came of a batch.

    Attributes:
        scores (Array): The answers, probabilities (N, K), in the order of
            the inputs.
        exits (np.ndarray): The exit at which each sample left, (N,), from 1.
        exit_scores (Array): Probabilities of the exits, (N, C, K); NaN where
            a sample did not reach an exit or the policy did not read it.
    """

    scores: Array
    exits: np.ndarray
    exit_scores: Array


def run_policy(network: Any, inputs: Array, policy: ExitPolicy) -> EarlyExit:
    """Classify a batch; who is done leaves, the rest go on together.

    Args:
        network: Has ``num_exits``, ``num_classes`` and
            ``stage(number, state, read) -> (state, logits)``. The state is a
            tuple of arrays (N, ...): the inputs before stage 1. Logits
            (N, K) are None where they are not to be read.
        inputs (Array): What stage 1 takes, (N, ...).
        policy (ExitPolicy): Who leaves where.

    Returns:
        EarlyExit: Of all N samples.

    Raises:
        ConfigError: The policy does not fit the network.
    """
    policy.check(network.num_exits)
    last = policy.last(network.num_exits)
    outcome, alive = None, np.arange(len(inputs))
    state, reached = (inputs, ), []
    for number in range(1, last + 1):
        read = number == last or policy.reads(number)
        state, logits = network.stage(number, state, read)
        if not read:
            continue
        reached.append(policy.probabilities(logits, number))
        if outcome is None:
            outcome = _nothing_yet(reached[0], network)
        outcome.exit_scores[alive, number - 1] = reached[-1]
        answer = policy.answer(reached)
        leaves = _leaves(policy, reached, number, last)
        if leaves is None:  # all of them: nothing to select
            outcome.scores[alive] = answer
            outcome.exits[alive] = number
            break
        if leaves.any():
            state, reached, alive = _part(outcome, answer, number, leaves,
                                          state, reached, alive)
    return outcome


def _nothing_yet(first: Array, network: Any) -> EarlyExit:
    count, classes = first.shape
    xp = namespace(first)
    like = {} if xp is np else dict(device=first.device)
    shape = (count, network.num_exits, classes)
    return EarlyExit(
        xp.zeros_like(first), np.zeros(count, np.int64),
        xp.full(shape, float('nan'), dtype=first.dtype, **like))


def _leaves(policy: ExitPolicy, reached: List[Array], number: int,
            last: int) -> Optional[np.ndarray]:
    """Who leaves, (N,) bool on the host; None where all do."""
    if number == last:
        return None
    leaves = policy.leaves(reached, number)
    if not isinstance(leaves, np.ndarray):
        leaves = leaves.cpu().numpy()  # what goes on is decided on the host
    return None if leaves.all() else leaves


def _part(outcome: EarlyExit, answer: Array, number: int, leaves: np.ndarray,
          state: Tuple[Array, ...], reached: List[Array],
          alive: np.ndarray) -> tuple:
    """Note the answers of those who leave; keep what the rest need."""
    done, keep = np.flatnonzero(leaves), np.flatnonzero(~leaves)
    outcome.scores[alive[done]] = answer[done]
    outcome.exits[alive[done]] = number
    return (tuple(x[keep] for x in state), [p[keep] for p in reached],
            alive[keep])
