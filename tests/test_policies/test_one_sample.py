"""Lists of floats are judged as arrays are."""

import math

import numpy as np
import pytest
from tabulated import Tabulated, answers

from mmrazor_byot.policies import MarginPolicy
from mmrazor_byot.policies.early_exit import FEW_CLASSES
from mmrazor_byot.policies.scores import (
    confidence,
    entropy,
    margin,
    nobody,
    softmax,
)

HALF = [0.5, 0.25, 0.25, 0.0]


def test_numbers_by_hand():
    assert softmax([0.0, math.log(3), 0.0]) == pytest.approx([0.2, 0.6, 0.2])
    # e^(log 9 / 2) = 3
    assert softmax([0.0, math.log(9), 0.0], 2) == pytest.approx([0.2, 0.6, 0.2])
    assert confidence(HALF) == 0.5
    assert margin(HALF) == 0.25
    assert entropy(HALF) == pytest.approx(0.75)  # 1.5 bits of 2
    assert nobody(HALF) is False


@pytest.mark.parametrize(
    'logits',
    [
        [1000.0, -1000.0, 0.0],
        [math.inf, 0.0, 1.0],
        [-math.inf, 0.0, 1.0],
        [math.nan, 0.0, 1.0],
        [0.0, math.nan, 1.0],
        [2.0, 2.0, 2.0],
    ],
)
@pytest.mark.filterwarnings('ignore:invalid value')
def test_as_numpy(logits):
    """Also where nothing can be said."""
    array = softmax(np.array([logits], np.float32))
    row = softmax(logits)
    np.testing.assert_allclose(row, array[0], atol=1e-7)
    for score in (confidence, margin, entropy):
        np.testing.assert_allclose(score(row), score(array)[0], atol=1e-6)


@pytest.mark.parametrize('count', [FEW_CLASSES, FEW_CLASSES + 1])
def test_few_and_many_classes(array, count):
    """What is too long for a list goes as an array."""
    logits = np.random.default_rng(0).normal(0, 2, (9, 3, count))
    network = Tabulated(array(logits.tolist()))
    policy = MarginPolicy([0.02, 0.02], [1.5, 1.2, 0.8])
    together = answers(network, policy, array, range(9))
    assert len(set(together.exits)) > 1
    for i in range(9):
        alone = answers(network, policy, array, [i])
        assert alone.exits.tolist() == [together.exits[i]]
        for field in ('scores', 'exit_scores'):
            one, of_all = getattr(alone, field), getattr(together, field)
            assert one.dtype == of_all.dtype
            np.testing.assert_allclose(one[0], of_all[i], rtol=1e-5)
