"""The benchmarks of the data path and of the loop run and say what they measured."""

import pytest

FLAGS = '--rounds', 1, '--device', 'cpu', '--name', 'x'


def test_pipelines(benchmark):
    _, done = benchmark('data_path', *FLAGS, '--batch', 32, '--count', 96, '--seconds', 0.2)
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


def test_jpeg(benchmark):
    rows = benchmark('data_path', *FLAGS, '--jpeg', '--count', 4)[1]['rows']
    assert {'cv2', 'cv2, half the size', 'pillow'} <= set(rows)
    for row in rows.values():
        assert row['decode'] + row['resize'] + row['rest'] == pytest.approx(1)
        assert 20 < row['file_kib'] < 400


def test_parts_of_an_iteration_add_up(benchmark):
    flags = '--iterations', 20, '--rounds', 1, '--history', 50_000
    rows = benchmark('loop', *flags)[1]['rows']
    assert list(rows) == ['MMEngine', 'ours', 'ours, batched data']
    for row in rows.values():
        total = row.pop('all')
        assert sum(row.values()) == pytest.approx(total)
        assert min(row.values()) > 0
