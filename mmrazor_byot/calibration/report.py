"""What a calibration found, as text and as plain data."""

from typing import List, Sequence

from .calibrate import Calibration, Candidate
from .threshold_search import Costs


def calibration_facts(found: Calibration, costs: Costs) -> dict:
    """What a policy file remembers of its calibration.

    Args:
        found (Calibration): What was found.
        costs (Costs): What was reckoned with.

    Returns:
        dict: Plain numbers and lists; accuracies in percent.
    """
    whole = float(costs.fixed[-1])
    return dict(
        exit_accuracy=[100 * a for a in found.exit_accuracy],
        ece_before=[before for before, _ in found.ece],
        ece_after=[after for _, after in found.ece],
        cost_unit=costs.unit,
        cost_of_deepest=whole,
        expected=_facts(found.chosen, whole),
        compared=[_facts(c, whole) for c in found.candidates],
    )


def format_calibration(found: Calibration, costs: Costs) -> str:
    """Two tables: the exits, and the policies that were compared.

    Args:
        found (Calibration): What was found.
        costs (Costs): What was reckoned with.

    Returns:
        str: Text, as Markdown.
    """
    whole = float(costs.fixed[-1])
    count = len(found.temperatures)
    rows = [
        ['exit', *(f'{i + 1}/{count}' for i in range(count))],
        ['accuracy (%)', *(f'{100 * a:.2f}' for a in found.exit_accuracy)],
        ['temperature', *(f'{t:.3f}' for t in found.temperatures)],
        ['calibration error before', *(f'{b:.3f}' for b, _ in found.ece)],
        ['calibration error after', *(f'{a:.3f}' for _, a in found.ece)],
        ['leave here (%)', *(f'{100 * s:.1f}' for s in found.chosen.seen.shares)],
        ['threshold', *_thresholds(found.chosen, count)],
    ]
    compared = [
        [
            '',
            'policy',
            'answer',
            'thresholds',
            f'{costs.unit}, share',
            'lost (points)',
            f'{costs.unit}, share, unseen',
            'lost (points), unseen',
        ]
    ]
    deepest = 100 * found.exit_accuracy[-1]
    for c in found.candidates:
        compared.append(
            [
                '*' if c is found.chosen else '',
                c.policy['type'],
                _answer(c),
                c.search,
                f'{c.seen.cost / whole:.3f}',
                f'{deepest - 100 * c.seen.accuracy:+.2f}',
                f'{c.unseen.cost / whole:.3f}',
                f'{c.drop:+.2f}',
            ]
        )
    return (
        f'{_table(rows)}\n\n{_table(compared)}\n'
        '* is taken. Unseen: thresholds found on four fifths of the '
        'images, tried on the last, five times.'
    )


def _facts(c: Candidate, whole: float) -> dict:
    return dict(
        policy=c.policy,
        search=c.search,
        accuracy=100 * c.seen.accuracy,
        cost_share=c.seen.cost / whole,
        exit_shares=c.seen.shares.tolist(),
        unseen_drop=c.drop,
        unseen_cost_share=c.unseen.cost / whole,
    )


def _answer(c: Candidate) -> str:
    if c.search == 'fixed':
        return f'exit {c.policy["exit_number"]}'
    return 'mean of exits' if c.policy['ensemble'] else 'last exit'


def _thresholds(c: Candidate, count: int) -> List[str]:
    given = c.policy.get('thresholds', [])
    texts = ['never' if t is None else f'{t:.4f}' for t in given]
    return texts + [''] * (count - len(texts))


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table; the first is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        '| '
        + ' | '.join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths))
        )
        + ' |'
        for row in rows
    ]
    rule = '|' + '|'.join('-' * (w + 2) for w in widths) + '|'
    return '\n'.join([lines[0], rule, *lines[1:]])
