import math

import numpy as np
import pytest

from mmrazor_byot.calibration.temperature import (
    calibrated,
    expected_calibration_error,
    fit_temperature,
)


@pytest.mark.parametrize('right', [60, 75, 95])
def test_temperature_makes_confidence_the_accuracy(right):
    # All say class 0 with the same logit; it is right for some of them.
    logits = np.tile([4.0, 0.0], (100, 1))
    labels = (np.arange(100) >= right).astype(int)
    by_hand = 4 / math.log(right / (100 - right))
    assert fit_temperature(logits, labels) == pytest.approx(by_hand, 1e-3)
    hottest = fit_temperature(1000 * logits, labels)  # its softmax would overflow
    assert hottest == 20  # the limit itself


def test_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    # In one bin .9 against .5, in the other .6 against 1.
    assert expected_calibration_error(probabilities, np.array([0, 1, 0, 0])) == pytest.approx(0.4)


def test_gaps_of_a_bin_cancel_out():
    probabilities = np.tile([0.75, 0.25], (4, 1))
    labels = np.array([0, 0, 0, 1])
    assert expected_calibration_error(probabilities, labels) == 0
    assert expected_calibration_error(np.eye(2), np.array([0, 1])) == 0


def test_each_exit_at_its_temperature():
    logits = np.array([[[2 * math.log(3), 0.0], [math.log(3), 0.0]]])
    np.testing.assert_allclose(calibrated(logits, [2.0, 1.0]), [[[0.75, 0.25], [0.75, 0.25]]])
