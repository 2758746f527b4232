"""What a calibration found, as text and as plain data."""

from mmrazor_byot.table import format_table

from .calibrate import Calibration, Candidate
from .threshold_search import Costs


def calibration_facts(found: Calibration, costs: Costs) -> dict:
    """What a policy file records of its calibration: plain numbers; accuracies in percent."""
    whole, deepest = float(costs.fixed[-1]), found.exit_accuracy[-1]

    def facts(c: Candidate) -> dict:
        return dict(
            policy=c.policy,
            search=c.search,
            accuracy=100 * c.seen.accuracy,
            cost_share=c.seen.cost / whole,
            exit_shares=c.seen.shares.tolist(),
            unseen_drop=float(100 * (deepest - c.unseen.accuracy)),
            unseen_cost_share=c.unseen.cost / whole,
        )

    before, after = (list(errors) for errors in zip(*found.ece))
    return dict(
        exit_accuracy=[100 * a for a in found.exit_accuracy],
        ece_before=before,
        ece_after=after,
        cost_unit=costs.unit,
        cost_of_deepest=whole,
        expected=facts(found.chosen),
        compared=[facts(c) for c in found.candidates],
    )


def format_calibration(found: Calibration, costs: Costs) -> str:
    """Two Markdown tables: the exits, and the policies that were compared."""
    whole, deepest = float(costs.fixed[-1]), found.exit_accuracy[-1]
    count = len(found.temperatures)
    thresholds = found.chosen.policy.get('thresholds', [])
    thresholds = ['never' if t is None else f'{t:.4f}' for t in thresholds]
    exits = [
        ['exit', *(f'{i + 1}/{count}' for i in range(count))],
        ['accuracy (%)', *(f'{100 * a:.2f}' for a in found.exit_accuracy)],
        ['temperature', *found.temperatures],
        ['calibration error before', *(before for before, _ in found.ece)],
        ['calibration error after', *(after for _, after in found.ece)],
        ['stop here (%)', *(f'{100 * s:.1f}' for s in found.chosen.seen.shares)],
        ['threshold', *thresholds, *[''] * (count - len(thresholds))],
    ]
    policies = [
        [
            '',
            'policy',
            'answer',
            'thresholds',
            f'{costs.unit}, ratio',
            'lost (points)',
            f'{costs.unit}, ratio, unseen',
            'lost (points), unseen',
        ]
    ]
    for c in found.candidates:
        numbers = [
            text
            for result in (c.seen, c.unseen)
            for text in (
                f'{result.cost / whole:.3f}',
                f'{100 * (deepest - result.accuracy):+.2f}',
            )
        ]
        mark = '*' if c is found.chosen else ''
        policies.append([mark, c.policy['type'], _answer(c), c.search, *numbers])
    return (
        f'{format_table(exits, markdown=True)}\n\n{format_table(policies, markdown=True)}\n'
        '* is taken. Unseen: thresholds found on four fifths of the images, tried on the last '
        'fifth, five times.'
    )


def _answer(c: Candidate) -> str:
    if c.search == 'fixed':
        return f'exit {c.policy["exit_number"]}'
    return 'mean of exits' if c.policy['ensemble'] else 'last exit'
