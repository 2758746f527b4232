"""Scores of how confident an exit is, as functions of probabilities (N, K)."""

import math

import torch
from torch import Tensor


def softmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Probabilities (N, K), float32 or wider; a temperature above 1 makes them less confident."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    return (logits.to(wide) / temperature).softmax(-1)


def confidence(probabilities: Tensor) -> Tensor:
    """The largest probability: (N, K) to (N,)."""
    return probabilities.amax(-1)


def margin(probabilities: Tensor) -> Tensor:
    """Difference of the two largest probabilities: (N, K) to (N,)."""
    two = probabilities.topk(2, dim=-1).values
    return two[..., 0] - two[..., 1]


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy as a fraction of the largest possible one, log K: (N, K) to (N,)."""
    nats = -(probabilities * probabilities.clamp(1e-30, 1).log()).sum(-1)
    # Rounding may give values slightly out of range.
    return (nats / math.log(probabilities.shape[-1])).clamp(0, 1)


def agreement(labels: Tensor) -> Tensor:
    """How many of I exits in a row, up to the last, predict one class: (N, I) to (N,)."""
    return (labels == labels[..., -1:]).flip(-1).long().cumprod(-1).sum(-1)
