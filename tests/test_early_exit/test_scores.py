"""Scores of an exit, against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch

from mmrazor_byot.early_exit import (
    agreement,
    confidence,
    entropy,
    margin,
    softmax,
)

#: Logits are log 1, log 2, log 5; and log 4, log 1, log 4.
LOGITS = [[0, math.log(2), math.log(5)], [math.log(4), 0, math.log(4)]]
PROBABILITIES = [[1 / 8, 2 / 8, 5 / 8], [4 / 9, 1 / 9, 4 / 9]]


def close(found, expected, rel=1e-6):
    assert np.asarray(found).tolist() == [pytest.approx(row, rel=rel, abs=1e-7) for row in expected]


def test_softmax(array):
    close(softmax(array(LOGITS)), PROBABILITIES)


def test_softmax_of_one_sample(array):
    close(softmax(array(LOGITS[:1])), PROBABILITIES[:1])


@pytest.mark.parametrize(
    'temperature, expected',
    [
        # exp(log(n) / 2) is the root of n, exp(log(n) / 0.5) its square.
        (
            2,
            [
                [
                    1 / (1 + 2**0.5 + 5**0.5),
                    2**0.5 / (1 + 2**0.5 + 5**0.5),
                    5**0.5 / (1 + 2**0.5 + 5**0.5),
                ],
                [2 / 5, 1 / 5, 2 / 5],
            ],
        ),
        (0.5, [[1 / 30, 4 / 30, 25 / 30], [16 / 33, 1 / 33, 16 / 33]]),
    ],
)
def test_temperature(array, temperature, expected):
    close(softmax(array(LOGITS), temperature), expected)


@pytest.mark.parametrize(
    'given, wider', [('float16', 'float32'), ('float32', 'float32'), ('float64', 'float64')]
)
def test_precision_of_softmax(array, given, wider):
    """In half, 1 / 3 would be 0.33325."""
    found = softmax(array([[7, 7, 7]], given))
    assert str(found.dtype).replace('torch.', '') == wider
    close(found, [[1 / 3] * 3], rel=1e-7)


def test_softmax_of_bfloat16():
    found = softmax(torch.tensor([[7, 7, 7]], dtype=torch.bfloat16))
    assert found.dtype == torch.float32
    close(found, [[1 / 3] * 3], rel=1e-7)


def test_large_half_logits_do_not_overflow(array):
    """60,000 is near the end of half precision, exp(12) past it."""
    close(
        softmax(array([[60000, 0, 60000]], 'float16'), 5000),
        [[1 / (2 + math.exp(-12)), math.exp(-12) / (2 + math.exp(-12)), 1 / (2 + math.exp(-12))]],
    )


@pytest.mark.parametrize(
    'score, expected',
    [
        (confidence, [5 / 8, 4 / 9]),
        (margin, [3 / 8, 0]),
        # In bits: 1/8 * 3 + 2/8 * 2 + 5/8 * log2(8/5), of log2(3).
        (
            entropy,
            [
                (3 / 8 + 4 / 8 + 5 / 8 * math.log2(8 / 5)) / math.log2(3),
                (8 / 9 * math.log2(9 / 4) + math.log2(9) / 9) / math.log2(3),
            ],
        ),
    ],
)
def test_scores(array, score, expected):
    found = score(array(PROBABILITIES))
    assert found.shape == (2,)
    close(found, expected)


def test_scores_of_one_hot_answers(array):
    one_hot = array([[0, 0, 1], [1, 0, 0]])
    close(confidence(one_hot), [1, 1])
    close(margin(one_hot), [1, 1])
    close(entropy(one_hot), [0, 0])


@pytest.mark.parametrize('count', [2, 6, 10, 1000])
def test_entropy_ends_at_one(array, count):
    """For 6 classes, float32 would round it to 1.0000001."""
    found = entropy(array([[1 / count] * count]))
    assert 1 - 1e-6 < float(found[0]) <= 1


def test_margin_leaves_its_input_alone(array):
    given = array(PROBABILITIES)
    margin(given)
    close(given, PROBABILITIES)


def test_agreement(array):
    labels = array([[3, 3, 3, 3], [3, 3, 1, 3], [3, 1, 1, 1], [0, 1, 3, 3], [1, 1, 1, 0]], 'int64')
    assert agreement(labels).tolist() == [4, 1, 3, 2, 1]


def test_agreement_of_one_exit(array):
    assert agreement(array([[2], [0]], 'int64')).tolist() == [1, 1]
