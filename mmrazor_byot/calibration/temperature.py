"""Temperature scaling: make an exit as sure as it is right."""

import math

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from mmrazor_byot.early_exit import confidence, softmax

#: Temperatures are sought in this range.
COLDEST, HOTTEST = 0.05, 20.0


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean of -log p(label), in nats.

    Args:
        logits (np.ndarray): (M, K).
        labels (np.ndarray): Right classes, (M,).
        temperature (float): The logits are divided by it.
    """
    scaled = logits.astype(np.float64) / temperature
    top = scaled.max(axis=1)
    log_sum = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
    return float(np.mean(log_sum - scaled[np.arange(len(labels)), labels]))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of the largest likelihood (arXiv 1706.04599).

    Args:
        logits (np.ndarray): Of one exit, (M, K).
        labels (np.ndarray): Right classes, (M,).

    Returns:
        float: From 0.05 to 20; answers do not change by it.
    """
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(logits, labels, math.exp(log_t)),
        bounds=(math.log(COLDEST), math.log(HOTTEST)),
        method='bounded',
    )
    return math.exp(found.x)


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> float:
    """How far confidence and accuracy are apart, from 0 to 1.

    The images are put into bins of equal width by their confidence; the error is the mean of
    |accuracy - confidence| over the images' bins.

    Args:
        probabilities (np.ndarray): (M, K).
        labels (np.ndarray): Right classes, (M,).
        bins (int): Their number. Defaults to 15.
    """
    sure = confidence(torch.from_numpy(probabilities)).numpy()
    right = probabilities.argmax(axis=1) == labels
    number = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(number, right.astype(np.float64) - sure, bins)
    return float(np.abs(gaps).sum() / len(labels))


def calibrated(logits: np.ndarray, temperatures) -> np.ndarray:
    """Softmax of every exit at its temperature: (M, C, K) to (M, C, K)."""
    exits = torch.from_numpy(logits).unbind(1)
    return torch.stack([softmax(x, t) for x, t in zip(exits, temperatures)], dim=1).numpy()
