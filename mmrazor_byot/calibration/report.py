"""The result of a calibration as text and as plain data."""

from typing import List

from mmrazor_byot.table import format_table

from .calibrate import Calibration, Candidate
from .temperature import MAX_TEMPERATURE, MIN_TEMPERATURE, is_limit
from .threshold_search import Costs


def calibration_facts(found: Calibration, costs: Costs) -> dict:
    """The ``calibration`` of a policy file; accuracies are in percent."""
    deepest_cost, deepest = float(costs.fixed[-1]), found.exit_accuracy[-1]

    def facts(c: Candidate) -> dict:
        return dict(
            policy=c.policy,
            search=c.search,
            accuracy=100 * c.seen.accuracy,
            cost_share=c.seen.cost / deepest_cost,
            exit_shares=c.seen.fractions.tolist(),
            unseen_drop=float(100 * (deepest - c.unseen.accuracy)),
            unseen_cost_share=c.unseen.cost / deepest_cost,
        )

    return dict(
        exit_accuracy=[100 * a for a in found.exit_accuracy],
        temperature_at_limit=[is_limit(t) for t in found.temperatures],
        ece_before=found.ece_before,
        ece_after=found.ece_after,
        cost_unit=costs.unit,
        cost_of_deepest=deepest_cost,
        expected=facts(found.chosen),
        compared=[facts(c) for c in found.candidates],
    )


def format_calibration(found: Calibration, costs: Costs) -> str:
    """Two Markdown tables: the exits, and the policies that were compared."""
    deepest_cost, deepest = float(costs.fixed[-1]), found.exit_accuracy[-1]
    count = len(found.temperatures)
    thresholds = found.chosen.policy.get('thresholds', [])
    thresholds = ['never' if t is None else f'{t:.4f}' for t in thresholds]
    exits: List[List[object]] = [
        ['exit', *(f'{i + 1}/{count}' for i in range(count))],
        ['accuracy (%)', *(f'{100 * a:.2f}' for a in found.exit_accuracy)],
        ['temperature', *(f'{t} (limit)' if is_limit(t) else t for t in found.temperatures)],
        ['calibration error before', *found.ece_before],
        ['calibration error after', *found.ece_after],
        ['stop here (%)', *(f'{100 * s:.1f}' for s in found.chosen.seen.fractions)],
        ['threshold', *thresholds, *[''] * (count - len(thresholds))],
    ]
    ratio, drop = f'{costs.unit}, ratio', 'top-1 drop (%)'
    heading = ['', 'policy', 'answer', 'thresholds', ratio, drop]
    policies: List[List[str]] = [[*heading, f'{ratio}, unseen', f'{drop}, unseen']]
    for c in found.candidates:
        numbers = []
        for result in (c.seen, c.unseen):
            numbers.append(f'{result.cost / deepest_cost:.3f}')
            numbers.append(f'{100 * (deepest - result.accuracy):+.2f}')
        mark = '*' if c is found.chosen else ''
        policies.append([mark, c.policy['type'], _answer(c), c.search, *numbers])
    limit = ''
    if any(map(is_limit, found.temperatures)):
        limit = (
            f'\nlimit: the best temperature is outside the search from {MIN_TEMPERATURE:g} to '
            f'{MAX_TEMPERATURE:g}, as of an exit that is always right, or at random; the images do '
            'not tell it.'
        )
    return (
        f'{format_table(exits, markdown=True)}{limit}\n\n{format_table(policies, markdown=True)}\n'
        '* is chosen. Unseen: thresholds found on four fifths of the images, tested on the last '
        'fifth, five times.'
    )


def _answer(c: Candidate) -> str:
    if c.search == 'fixed':
        return f'exit {c.policy["exit_number"]}'
    return 'mean of exits' if c.policy['ensemble'] else 'last exit'
