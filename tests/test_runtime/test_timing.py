"""The numbers that the bench reports."""

import sys

import numpy as np
import pytest

from mmrazor_byot.runtime import timing
from mmrazor_byot.runtime.bench import Images, bench, exit_costs
from mmrazor_byot.runtime.timing import interleaved, summary


def test_numbers_of_a_summary():
    times = [0.002] * 18 + [0.004, 0.04]
    # linear between the 18th and 19th of 0 to 19: 0.95 * 19 = 18.05
    assert summary(times, 8) == pytest.approx(
        dict(median_ms=2, p95_ms=4 + 0.05 * 36, calls=20, images_per_s=8 * 20 / 0.08)
    )


def test_progress_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    interleaved(dict(a=int, b=int), seconds=0, at_least=1)
    shown = capsys.readouterr().err.split('\x1b[2K\r')
    assert [text for text in shown if text] == ['Timing 0%', 'Timing 50%', 'Timing 100%']
    assert shown[-1] == ''  # the line is cleared


def test_calls_are_timed_in_turn(monkeypatch):
    monkeypatch.setattr(timing, 'TURN', 0)
    order = []
    times = interleaved(
        {name: lambda name=name: order.append(name) for name in 'ab'}, seconds=0, at_least=3
    )
    assert ''.join(order) == 'aabb' + 'aabb' * 3
    assert {name: len(spent) for name, spent in times.items()} == dict(a=3, b=3)


class Fake:
    """A model of 2 or 1 exits that keeps what it is asked for."""

    def __init__(self, exits=(1, 2), thresholds=(0.5,)):
        rows = [dict(exit=i) for i in exits]
        self.metadata = type('About', (), {})()
        vars(self.metadata).update(
            exits=rows, exit_numbers=list(exits), num_exits=2, thresholds=list(thresholds),
            precision='fp32',
        )  # fmt: skip
        self.seen = []

    def stop_at(self, number):
        return number

    def __call__(self, images, thresholds):
        self.seen.append((thresholds, images[:, 0, 0, 0].tolist()))


def test_every_image_has_its_turn():
    model = Fake()
    array = np.zeros((5, 4, 4, 3), np.uint8)
    array[:, 0, 0, 0] = range(5)
    rows = bench({'a': model}, Images(array, None, 'five'), 2, 1e-9)
    assert [row['what'] for row in rows] == ['1/2', '2/2', 'policy']
    for thresholds in (1, 2, None):
        batches = [seen for given, seen in model.seen if given == thresholds]
        assert batches[:4] == [[0, 1], [2, 3], [4, 0], [0, 1]]
    assert rows[1]['ratio'] == 1


def test_costs_take_the_cut_network_that_was_timed():
    models = dict(whole=Fake(), cut=Fake((2,), ()))
    rows = [
        dict(file='whole', what='1/2', median_ms=3.0),
        dict(file='whole', what='2/2', median_ms=9.0),
        dict(file='cut', what='2/2', median_ms=7.0),
    ]
    expected = dict(cumulative=[3.0, 9.0], fixed=[3.0, 7.0], unit='ms')
    assert exit_costs(models, rows) == expected
    assert exit_costs(dict(cut=models['cut']), rows[2:]) is None
