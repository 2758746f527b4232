"""Stops if a network answers with NaN, which would count as a wrong answer, or as none."""

from typing import Optional, Sequence

from torch import Tensor

from mmrazor_byot.errors import NonFiniteOutputError


def check_answers(wrong: Tensor, exits: Optional[Sequence[int]] = None) -> None:
    """Raise a NonFiniteOutputError that names the first exit whose output is not finite.

    Args:
        wrong (Tensor): Whether the output of an exit is not finite, (N, C) bool.
        exits (Sequence[int], optional): Numbers of the exits. Defaults to 1 to C.
    """
    numbers = exits or range(1, wrong.shape[1] + 1)
    for number, count in zip(numbers, wrong.sum(dim=0).tolist()):
        if count:
            raise NonFiniteOutputError(
                f'exit {number} answers with NaN or infinity for {count} of {len(wrong)} images: '
                'its weights are damaged or training diverged (use an earlier checkpoint), or '
                'numbers overflow in half precision (leave --amp out)'
            )


def check_logits(logits: Tensor, exits: Optional[Sequence[int]] = None) -> None:
    """:func:`check_answers` for logits (N, C, K)."""
    check_answers(~logits.isfinite().all(dim=-1), exits)
