"""The benchmark of the loop, cut to seconds."""

import json
import sys

import pytest
from run import ROOT, run, succeeded


def test_parts_of_an_iteration(tmp_path):
    """They add up; and a long history costs MMEngine's hub its time."""
    succeeded(
        run(
            sys.executable,
            ROOT / 'benchmarks/loop.py',
            '--iterations',
            20,
            '--rounds',
            1,
            '--history',
            50_000,
            '--out',
            tmp_path,
        )
    )
    rows = json.loads((tmp_path / 'loop.json').read_text())['rows']
    assert list(rows) == ['MMEngine', 'ours', 'ours, whole batches']
    for row in rows.values():
        total = row.pop('all')
        assert sum(row.values()) == pytest.approx(total)
        assert min(row.values()) > 0
    update = [row['message hub: update'] for row in rows.values()]
    assert update[0] > 5 * max(update[1:])
