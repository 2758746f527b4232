"""The functions of scores.py for a list of floats, without NumPy."""

import math
from typing import List


def softmax(logits: List[float], temperature: float) -> List[float]:
    """Probabilities of the classes, from logits (K,)."""
    largest = max(logits)
    powers = [math.exp((x - largest) / temperature) for x in logits]
    total = sum(powers)
    return [x / total for x in powers]


def confidence(probabilities: List[float]) -> float:
    """The largest probability."""
    return max(probabilities)


def margin(probabilities: List[float]) -> float:
    """By how much the largest probability leads."""
    second, first = sorted(probabilities)[-2:]
    return first - second


def entropy(probabilities: List[float]) -> float:
    """Entropy as a share of the largest possible one."""
    nats = -sum(p * math.log(p) for p in probabilities if p != 0)
    return min(max(nats / math.log(len(probabilities)), 0.0), 1.0)
