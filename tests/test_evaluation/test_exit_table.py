"""The table of all exits."""

import pytest

from mmrazor_byot.evaluation import exit_rows, format_exit_table

COSTS = [
    dict(exit='1/2', params=52_345, flops=999_400),
    dict(exit='2/2', params=11_220_132, flops=556_650_000),
    dict(exit='ensemble', params=12_345_678, flops=1_234_567_890),
]
METRICS = {
    'exit1/top1': 67.846,
    'exit1/top5': 90.0,
    'exit2/top1': 78.64,
    'exit2/top5': 100.0,
    'ensemble/top1': 79.674,
    'ensemble/top5': 0.0,
    'accuracy/top1': 78.64,
    'accuracy/top5': 100.0,
    'data_time': 0.1,
}

WITH_ACCURACY = """\
| exit       |      1/2 |    2/2 | ensemble |
|------------|---------:|-------:|---------:|
| top-1 (%)  |    67.85 |  78.64 |    79.67 |
| top-5 (%)  |    90.00 | 100.00 |     0.00 |
| params (M) |   0.0523 |  11.22 |    12.35 |
| FLOPs (G)  | 0.000999 |  0.557 |     1.23 |"""

COSTS_ONLY = """\
| exit       |      1/2 |   2/2 | ensemble |
|------------|---------:|------:|---------:|
| params (M) |   0.0523 | 11.22 |    12.35 |
| FLOPs (G)  | 0.000999 | 0.557 |     1.23 |"""


@pytest.mark.parametrize(
    'metrics, table',
    [(METRICS, WITH_ACCURACY), (None, COSTS_ONLY), ({'accuracy/top1': 5.0}, COSTS_ONLY)],
)
def test_table(metrics, table):
    assert format_exit_table(exit_rows(COSTS, metrics)) == table


def test_table_of_a_plain_network():
    costs = [dict(COSTS[1], exit='1/1')]
    rows = exit_rows(costs, {'accuracy/top1': 77.094})
    assert rows == [dict(costs[0], top1=77.094)]
    assert format_exit_table(rows).splitlines()[2:] == [
        '| top-1 (%)  | 77.09 |',
        '| params (M) | 11.22 |',
        '| FLOPs (G)  | 0.557 |',
    ]


def test_ten_exits_are_not_mixed_up():
    """exit1 is not a prefix of exit10's name."""
    costs = [dict(exit=f'{i}/10', params=i, flops=i) for i in range(1, 11)]
    costs.append(dict(exit='ensemble', params=11, flops=11))
    metrics = {f'exit{i}/top1': float(i) for i in range(1, 11)}
    metrics['ensemble/top1'] = 11.0
    rows = exit_rows(costs, metrics)
    assert [row['top1'] for row in rows] == list(range(1, 12))


def test_small_numbers_keep_three_digits():
    params = [1, 4_321, 500_000, 999_900, 1_000_000, 123_456_789]
    table = format_exit_table([dict(exit='', params=n, flops=10**9) for n in params])
    cells = table.splitlines()[2].split('|')[2:-1]
    assert [c.strip() for c in cells] == ['1e-06', '0.00432', '0.5', '1', '1.00', '123.46']
