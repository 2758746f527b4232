"""Run a network stage by stage until each sample stops."""

from typing import List, NamedTuple, Optional, Protocol, Tuple

import torch
from torch import Tensor

from mmrazor_byot.evaluation.finite import check_answers

from .base import ExitPolicy

#: What one stage hands to the next: tensors (N, ...).
State = Tuple[Tensor, ...]


class Stages(Protocol):
    """A network that can be run stage by stage, such as :class:`StagedNetwork`."""

    num_exits: int
    num_classes: int

    def stage(self, number: int, state: State, read: bool) -> Tuple[State, Optional[Tensor]]:
        """Run a stage, from 1: its state and, if ``read``, the logits (N, K) of its exit."""


class EarlyExit(NamedTuple):
    """Results of a batch, in the order of the inputs.

    Attributes:
        scores (Tensor): Predicted probabilities, (N, K).
        exits (Tensor): The exit at which each sample stopped, from 1, (N,) int64 on the CPU.
        exit_scores (Tensor): Probabilities of the exits, (N, C, K); NaN if a sample did not reach
            an exit or the policy does not use it.
    """

    scores: Tensor
    exits: Tensor
    exit_scores: Tensor


def run_policy(network: Stages, inputs: Tensor, policy: ExitPolicy) -> EarlyExit:
    """Classify a batch; the next stage runs only the samples that have not stopped.

    Args:
        network (Stages): The network.
        inputs (Tensor): Input of stage 1, (N, ...).
        policy (ExitPolicy): Decides which samples stop at which exit.

    Raises:
        ConfigError: The policy does not fit the network.
        NonFiniteOutputError: An exit answers with NaN.
    """
    policy.check(network.num_exits)
    last = policy.last(network.num_exits)
    state: State = (inputs,)
    reached: List[Tensor] = []
    read: List[int] = []  # exits whose heads have been run
    remaining = torch.arange(len(inputs))  # indices of the samples that have not stopped
    exits = torch.zeros(len(inputs), dtype=torch.long)
    scores = exit_scores = torch.empty(0)  # the first logits tell dtype and device
    for number in range(1, last + 1):
        state, logits = network.stage(number, state, number == last or policy.uses_exit(number))
        if logits is None:
            continue
        reached.append(policy.probabilities(logits, number))
        read.append(number)
        if len(reached) == 1:
            scores = torch.empty_like(reached[0])
            shape = len(inputs), network.num_exits, scores.shape[1]
            exit_scores = scores.new_full(shape, float('nan'))
        exit_scores[remaining, number - 1] = reached[-1]
        stop = None if number == last else policy.should_exit(reached, number).cpu()
        if stop is None or stop.all():
            scores[remaining], exits[remaining] = policy.answer(reached), number
            break
        if stop.any():
            done, keep = stop.nonzero()[:, 0], (~stop).nonzero()[:, 0]
            scores[remaining[done]] = policy.answer([p[done] for p in reached])
            exits[remaining[done]] = number
            state, remaining = tuple(x[keep] for x in state), remaining[keep]
            reached = [p[keep] for p in reached]
    nan = exit_scores[:, [number - 1 for number in read], 0].isnan().cpu()
    check_answers(nan & (exits[:, None] >= torch.tensor(read)), read)
    return EarlyExit(scores, exits, exit_scores)


class RecordedNetwork:
    """Recorded logits (M, C, K) as a network for :func:`run_policy`; inputs are indices (N,)."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        _, self.num_exits, self.num_classes = logits.shape

    def stage(self, number: int, state: State, read: bool = True) -> Tuple[State, Optional[Tensor]]:
        """Look up logits, see :meth:`Stages.stage`."""
        return state, self.logits[state[0], number - 1] if read else None

    def run(self, policy: ExitPolicy) -> EarlyExit:
        """Run a policy on all samples."""
        return run_policy(self, torch.arange(len(self.logits)), policy)
