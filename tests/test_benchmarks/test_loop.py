"""The benchmark of the loop, cut to seconds."""

import pytest


def test_parts_of_an_iteration(benchmark):
    """They add up to the whole."""
    flags = '--iterations', 20, '--rounds', 1, '--history', 50_000
    rows = benchmark('loop', *flags)[1]['rows']
    assert list(rows) == ['MMEngine', 'ours', 'ours, whole batches']
    for row in rows.values():
        total = row.pop('all')
        assert sum(row.values()) == pytest.approx(total)
        assert min(row.values()) > 0
