"""Temperature scaling: make an exit as confident as it is accurate."""

import math
from typing import Sequence

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch.nn import functional as F

from mmrazor_byot.early_exit import confidence, softmax

#: The range of temperatures.
COLDEST, HOTTEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of the largest likelihood (arXiv 1706.04599).

    Args:
        logits (np.ndarray): Of one exit, (M, K).
        labels (np.ndarray): Right classes, (M,).

    Returns:
        float: From 0.05 to 20; the predicted classes do not change by it.
    """
    scores, targets = torch.from_numpy(logits).double(), torch.from_numpy(labels).long()
    found = minimize_scalar(
        lambda log_t: F.cross_entropy(scores / math.exp(log_t), targets).item(),
        bounds=(math.log(COLDEST), math.log(HOTTEST)),
        method='bounded',
    )
    return math.exp(found.x)


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> float:
    """Mean difference between confidence and accuracy, from 0 to 1.

    The images are put into bins of equal width by their confidence; the error is the mean of
    |accuracy - confidence| over the images' bins.

    Args:
        probabilities (np.ndarray): (M, K).
        labels (np.ndarray): Right classes, (M,).
        bins (int): Their number. Defaults to 15.
    """
    certainty = confidence(torch.from_numpy(probabilities)).numpy()
    right = probabilities.argmax(axis=1) == labels
    number = np.clip(np.ceil(certainty * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(number, right.astype(np.float64) - certainty, bins)
    return float(np.abs(gaps).sum() / len(labels))


def calibrated(logits: np.ndarray, temperatures: Sequence[float]) -> np.ndarray:
    """Softmax of every exit at its temperature: (M, C, K) to (M, C, K)."""
    exits = torch.from_numpy(logits).unbind(1)
    return torch.stack([softmax(x, t) for x, t in zip(exits, temperatures)], dim=1).numpy()
