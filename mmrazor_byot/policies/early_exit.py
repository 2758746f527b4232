"""Run a network stage by stage, and let samples leave."""

import itertools
import math
from typing import Any, List, NamedTuple, Optional, Tuple

import numpy as np

from .base import ExitPolicy
from .scores import Array, namespace

#: Up to so many classes, a list of floats is faster than an array.
FEW_CLASSES = 128

#: An exit's number, samples (None: all) and their probabilities.
Part = Tuple[int, Optional[np.ndarray], Array]


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
    if len(inputs) == 1:
        return _run_one(network, inputs, policy, last)
    return _run_many(network, inputs, policy, last)


def _run_one(network: Any, inputs: Array, policy: ExitPolicy, last: int) -> EarlyExit:
    """One sample: nothing to select, and its few numbers as a list.

    Beside one small image, which takes less than a millisecond, every call
    of NumPy counts.
    """
    state, reached, read = (inputs,), [], []
    for number in range(1, last + 1):
        reads = number == last or policy.reads(number)
        state, logits = network.stage(number, state, reads)
        if reads:
            row = _row(logits)
            reached.append(policy.probabilities(row, number))
            read.append(number)
            if number == last or policy.leaves(reached, number):
                break
    answer = policy.answer(reached)
    if isinstance(answer, list):
        dtype = np.promote_types(logits.dtype, np.float32)
        rows = [[math.nan] * len(answer)] * network.num_exits
        for i, probabilities in zip(read, reached):
            rows[i - 1] = probabilities
        answer = np.array([answer], dtype)
        return EarlyExit(answer, np.array([number]), np.array([rows], dtype))
    return _gather(
        network, 1, [*zip(read, itertools.repeat(None), reached)], [(number, None, answer)]
    )


def _row(logits: Array) -> Array:
    """One sample of few classes (1, K) as a list; any other as it is."""
    few = isinstance(logits, np.ndarray) and logits.shape[1] <= FEW_CLASSES
    return logits[0].tolist() if few else logits


def _run_many(network: Any, inputs: Array, policy: ExitPolicy, last: int) -> EarlyExit:
    """Many samples, of which some leave and the rest go on."""
    state, reached, alive = (inputs,), [], None  # None: all of them
    seen, left = [], []
    for number in range(1, last + 1):
        read = number == last or policy.reads(number)
        state, logits = network.stage(number, state, read)
        if not read:
            continue
        reached.append(policy.probabilities(logits, number))
        seen.append((number, alive, reached[-1]))
        answer = policy.answer(reached)
        leaves = _leaves(policy, reached, number, last)
        if leaves is None:  # all of them: nothing to select
            left.append((number, alive, answer))
            break
        if leaves is NOBODY:
            continue
        done, keep = np.flatnonzero(leaves), np.flatnonzero(~leaves)
        alive = np.arange(len(leaves)) if alive is None else alive
        left.append((number, alive[done], answer[done]))
        state, alive = tuple(x[keep] for x in state), alive[keep]
        reached = [p[keep] for p in reached]
    return _gather(network, len(inputs), seen, left)


#: Says that every sample goes on.
NOBODY = np.zeros(0, bool)


def _leaves(
    policy: ExitPolicy, reached: List[Array], number: int, last: int
) -> Optional[np.ndarray]:
    """Who leaves, (N,) bool on the host; None: all, or NOBODY."""
    if number == last:
        return None
    leaves = policy.leaves(reached, number)
    if not isinstance(leaves, np.ndarray):
        leaves = leaves.cpu().numpy()  # what goes on is decided on the host
    count = np.count_nonzero(leaves)
    if count == len(leaves):
        return None
    return leaves if count else NOBODY


def _gather(network: Any, count: int, seen: List[Part], left: List[Part]) -> EarlyExit:
    """Put together what came of the samples, in the order of the inputs."""
    _, _, first = seen[0]
    xp = namespace(first)
    like = {} if xp is np else dict(device=first.device)
    shape = (count, network.num_exits, first.shape[1])
    exit_scores = xp.full(shape, float('nan'), dtype=first.dtype, **like)
    for number, who, probabilities in seen:
        exit_scores[slice(None) if who is None else who, number - 1] = probabilities
    number, who, scores = left[-1]
    exits = np.full(count, number)
    if who is not None:
        scores = xp.zeros_like(first)
        for number, who, answer in left:
            scores[who], exits[who] = answer, number
    return EarlyExit(scores, exits, exit_scores)
