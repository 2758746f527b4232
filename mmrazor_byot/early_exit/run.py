"""Run a network stage by stage, and let samples leave."""

from typing import Any, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from .base import ExitPolicy


class EarlyExit(NamedTuple):
    """What came of a batch, in the order of the inputs.

    Attributes:
        scores (Tensor): The answers, probabilities (N, K).
        exits (Tensor): The exit at which each sample left, from 1, (N,) int64 on the CPU.
        exit_scores (Tensor): Probabilities of the exits, (N, C, K); NaN if a sample did not reach
            an exit or the policy does not use it.
    """

    scores: Tensor
    exits: Tensor
    exit_scores: Tensor


def run_policy(network: Any, inputs: Tensor, policy: ExitPolicy) -> EarlyExit:
    """Classify a batch; samples that are done leave, the rest go on together.

    Args:
        network: Has ``num_exits``, ``num_classes`` and ``stage(number, state, read) -> (state,
            logits)``. The state is a tuple of tensors (N, ...): the inputs before stage 1. Logits
            (N, K) are None if they are not to be read.
        inputs (Tensor): What stage 1 takes, (N, ...).
        policy (ExitPolicy): Which samples leave where.

    Returns:
        EarlyExit: Of all N samples.

    Raises:
        ConfigError: The policy does not fit the network.
    """
    policy.check(network.num_exits)
    last = policy.last(network.num_exits)
    state: Tuple[Tensor, ...] = (inputs,)
    reached: List[Tensor] = []
    left = torch.arange(len(inputs))  # numbers of the samples that have not left
    exits = torch.zeros(len(inputs), dtype=torch.long)
    scores, exit_scores = None, None
    for number in range(1, last + 1):
        read = number == last or policy.uses_exit(number)
        state, logits = network.stage(number, state, read)
        if not read:
            continue
        reached.append(policy.probabilities(logits, number))
        if scores is None:
            scores = torch.empty_like(reached[0])
            shape = len(inputs), network.num_exits, scores.shape[1]
            exit_scores = scores.new_full(shape, float('nan'))
        exit_scores[left, number - 1] = reached[-1]
        stop = None if number == last else policy.should_exit(reached, number).cpu()
        if stop is None or stop.all():
            scores[left], exits[left] = policy.answer(reached), number
            break
        if stop.any():
            done, keep = stop.nonzero()[:, 0], (~stop).nonzero()[:, 0]
            scores[left[done]] = policy.answer([p[done] for p in reached])
            exits[left[done]] = number
            state, left = tuple(x[keep] for x in state), left[keep]
            reached = [p[keep] for p in reached]
    return EarlyExit(scores, exits, exit_scores)


class RecordedNetwork:
    """Logits that were computed once, for :func:`run_policy` to leave early.

    Its inputs are the numbers of the samples, (N,).

    Args:
        logits (Tensor): Of every sample and exit, (M, C, K).
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        _, self.num_exits, self.num_classes = logits.shape

    def stage(
        self, number: int, state: Tuple[Tensor, ...], read: bool = True
    ) -> Tuple[Tuple[Tensor, ...], Optional[Tensor]]:
        """The samples that are left, and their logits, (N, K)."""
        return state, self.logits[state[0], number - 1] if read else None

    def run(self, policy: ExitPolicy) -> EarlyExit:
        """Run a policy over all samples."""
        return run_policy(self, torch.arange(len(self.logits)), policy)
