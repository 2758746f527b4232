"""The benchmark of the data path runs and says what it measured."""

import json

import pytest
from run import ROOT, run, succeeded

SCRIPT = ROOT / 'benchmarks/data_path.py'


def measured(tmp_path, *arguments) -> dict:
    text = succeeded(
        run(
            'python',
            SCRIPT,
            '--rounds',
            1,
            '--device',
            'cpu',
            '--name',
            'x',
            '--out',
            tmp_path,
            *arguments,
            OMP_NUM_THREADS='1',
        )
    )
    assert f'written to {tmp_path / "x.json"}' in text
    return json.loads((tmp_path / 'x.json').read_text())


def test_pipelines(tmp_path):
    done = measured(tmp_path, '--batch', 32, '--count', 96, '--seconds', 0.2)
    rows = done['rows']
    assert done['batch'] == 32 and done['machine']['threads'] == 1
    assert len(rows) == 4
    for name, row in rows.items():
        assert row['min_per_s'] <= row['median_per_s'] <= row['max_per_s']
        if name.startswith('mmpretrain'):
            assert row['ratio'] == 1
        else:
            theirs = rows[name.replace('batched', 'mmpretrain')]
            assert row['ratio'] == pytest.approx(row['median_per_s'] / theirs['median_per_s'])
            assert row['ratio'] > 1


def test_jpeg(tmp_path):
    rows = measured(tmp_path, '--jpeg', '--count', 4)['rows']
    assert {'cv2', 'cv2, half the size', 'pillow'} <= set(rows)
    for row in rows.values():
        assert row['decode'] + row['resize'] + row['rest'] == pytest.approx(1)
        assert 20 < row['file_kib'] < 400
