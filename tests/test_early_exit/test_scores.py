"""Scores of an exit, against numbers worked out by hand."""

import math

import pytest
import torch
from torch import tensor

from mmrazor_byot.early_exit import agreement, confidence, entropy, margin, softmax

#: Logits are log 1, log 2, log 5; and log 4, log 1, log 4.
LOGITS = tensor([[0, math.log(2), math.log(5)], [math.log(4), 0, math.log(4)]])
PROBABILITIES = tensor([[1 / 8, 2 / 8, 5 / 8], [4 / 9, 1 / 9, 4 / 9]])


def close(found, expected, rel=1e-6):
    assert found.tolist() == [pytest.approx(row, rel=rel, abs=1e-7) for row in expected]


@pytest.mark.parametrize(
    'temperature, expected',
    [
        (1, PROBABILITIES.tolist()),
        # exp(log(n) / 2) is the root of n, exp(log(n) / 0.5) its square.
        (2, [[n**0.5 / (1 + 2**0.5 + 5**0.5) for n in (1, 2, 5)], [2 / 5, 1 / 5, 2 / 5]]),
        (0.5, [[1 / 30, 4 / 30, 25 / 30], [16 / 33, 1 / 33, 16 / 33]]),
    ],
)
def test_softmax(temperature, expected):
    close(softmax(LOGITS, temperature), expected)


@pytest.mark.parametrize('given', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precision_of_softmax(given):
    """In half, 1 / 3 would be 0.33325."""
    found = softmax(tensor([[7, 7, 7]], dtype=given))
    assert found.dtype == (torch.float64 if given == torch.float64 else torch.float32)
    close(found, [[1 / 3] * 3], rel=1e-7)


def test_large_half_logits_do_not_overflow():
    """60,000 is near the end of half precision, exp(12) past it."""
    total = 2 + math.exp(-12)
    found = softmax(tensor([[60000, 0, 60000]], dtype=torch.float16), 5000)
    close(found, [[1 / total, math.exp(-12) / total, 1 / total]])


@pytest.mark.parametrize(
    'score, expected, of_one_hot',
    [
        (confidence, [5 / 8, 4 / 9], 1),
        (margin, [3 / 8, 0], 1),
        # In bits: 1/8 * 3 + 2/8 * 2 + 5/8 * log2(8/5), of log2(3).
        (
            entropy,
            [
                (3 / 8 + 4 / 8 + 5 / 8 * math.log2(8 / 5)) / math.log2(3),
                (8 / 9 * math.log2(9 / 4) + math.log2(9) / 9) / math.log2(3),
            ],
            0,
        ),
    ],
)
def test_scores(score, expected, of_one_hot):
    close(score(PROBABILITIES), expected)
    close(score(tensor([[0.0, 0, 1], [1, 0, 0]])), [of_one_hot] * 2)


@pytest.mark.parametrize('count', [2, 6, 10, 1000])
def test_entropy_ends_at_one(count):
    """For 6 classes, float32 would round it to 1.0000001."""
    found = entropy(tensor([[1 / count] * count]))
    assert 1 - 1e-6 < float(found[0]) <= 1


def test_agreement():
    labels = tensor([[3, 3, 3, 3], [3, 3, 1, 3], [3, 1, 1, 1], [0, 1, 3, 3], [1, 1, 1, 0]])
    assert agreement(labels).tolist() == [4, 1, 3, 2, 1]
    assert agreement(labels[:, :1]).tolist() == [1] * 5
