"""How sure an exit is: pure functions of NumPy arrays or torch tensors.

A single sample may also be a list of K floats, (K,): where a network is small
and runs on NumPy, the calls of NumPy would take longer than the numbers.
"""

import math
import sys
from types import ModuleType
from typing import Any

import numpy as np

from . import one_sample

#: A NumPy array, a torch tensor where torch is in use, or for one sample a
#: list of floats.
Array = Any


def namespace(x: Array) -> ModuleType:
    """The module whose functions take this array: NumPy or torch."""
    return np if isinstance(x, np.ndarray) else sys.modules['torch']


def softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Probabilities of the classes.

    Args:
        logits (Array): Scores before softmax, (N, K).
        temperature (float): They are divided by it; above 1 it makes the
            exit less sure of itself. Defaults to 1.

    Returns:
        Array: Probabilities (N, K), float32 or wider.
    """
    if isinstance(logits, list):
        return one_sample.softmax(logits, temperature)
    if not isinstance(logits, np.ndarray):
        torch = namespace(logits)
        wide = torch.promote_types(logits.dtype, torch.float32)
        return (logits.to(wide) / temperature).softmax(-1)
    if logits.dtype == np.float16:
        logits = logits.astype(np.float32)
    powers = logits / temperature
    # In place, and by ufuncs: beside one small image NumPy's calls count.
    powers -= np.maximum.reduce(powers, -1, keepdims=True)
    np.exp(powers, out=powers)
    powers /= np.add.reduce(powers, -1, keepdims=True)
    return powers


def confidence(probabilities: Array) -> Array:
    """The largest probability: (N, K) to (N,)."""
    if isinstance(probabilities, list):
        return one_sample.confidence(probabilities)
    return namespace(probabilities).amax(probabilities, -1)


def margin(probabilities: Array) -> Array:
    """By how much the largest probability leads: (N, K) to (N,)."""
    if isinstance(probabilities, list):
        return one_sample.margin(probabilities)
    if namespace(probabilities) is np:
        two = np.partition(probabilities, -2, axis=-1)[..., -2:]
        return two[..., 1] - two[..., 0]
    two = probabilities.topk(2, dim=-1).values
    return two[..., 0] - two[..., 1]


def entropy(probabilities: Array) -> Array:
    """Entropy as a share of the largest possible one: (N, K) to (N,).

    It is 0 where one class has all, and 1 where all K have 1 / K.
    """
    if isinstance(probabilities, list):
        return one_sample.entropy(probabilities)
    xp = namespace(probabilities)
    logs = xp.log(xp.clip(probabilities, 1e-30, 1))
    nats = -xp.sum(probabilities * logs, -1)
    # Rounding may lead a little beyond either end.
    return xp.clip(nats / math.log(probabilities.shape[-1]), 0, 1)


def agreement(labels: Array) -> Array:
    """How many of the last exits give the answer of the very last.

    Args:
        labels (Array): Answers of the exits in their order, (N, I).

    Returns:
        Array: Counts (N,), from 1 to I.
    """
    xp = namespace(labels)
    same = labels == labels[..., -1:]
    backwards = same[..., ::-1] if xp is np else same.flip(-1)
    return xp.sum(xp.cumprod(backwards + 0, -1), -1)


def nobody(probabilities: Array) -> Array:
    """No sample: (N, K) to (N,), all False."""
    if isinstance(probabilities, list):
        return False
    return namespace(probabilities).zeros_like(probabilities[..., 0]) > 0
