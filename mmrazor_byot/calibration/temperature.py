"""Temperature scaling (arXiv 1706.04599)."""

import math
from typing import Sequence

import numpy as np
import torch
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
from torch.nn import functional as F

from mmrazor_byot.early_exit import confidence, softmax

#: The range of temperatures.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
#: How many bins of confidence the calibration error has.
BINS = 15


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature, from 0.05 to 20, with the least cross entropy of logits (M, K).

    One of the limits themselves, if none between is better: the best one is beyond it.
    """
    scores, targets = torch.from_numpy(logits).double(), torch.from_numpy(labels).long()

    def loss(temperature: float) -> float:
        return F.cross_entropy(scores / temperature, targets).item()

    found = minimize_scalar(
        lambda log_t: loss(math.exp(log_t)),
        bounds=(math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)),
        method='bounded',
    )
    return min(MIN_TEMPERATURE, MAX_TEMPERATURE, math.exp(found.x), key=loss)


def is_limit(temperature: float) -> bool:
    """Whether a temperature is a limit of the search, not an optimum."""
    return temperature in (MIN_TEMPERATURE, MAX_TEMPERATURE)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of |accuracy - confidence| over bins of equal width, weighted by their images."""
    confidences = confidence(torch.from_numpy(probabilities)).numpy()
    correct = probabilities.argmax(axis=1) == labels
    number = np.clip(np.ceil(confidences * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(number, correct.astype(np.float64) - confidences)
    return float(np.abs(gaps).sum() / len(labels))


def calibrated(logits: np.ndarray, temperatures: Sequence[float]) -> np.ndarray:
    """Softmax of every exit at its temperature: (M, C, K) to (M, C, K)."""
    exits = torch.from_numpy(logits).unbind(1)
    return torch.stack([softmax(x, t) for x, t in zip(exits, temperatures)], dim=1).numpy()
