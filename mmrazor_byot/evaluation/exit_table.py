"""The paper's table: one column per exit."""

from typing import Dict, List, Optional, Sequence

from mmrazor_byot.table import format_table


def exit_rows(complexity: Sequence[Dict], metrics: Optional[Dict[str, float]] = None) -> List[dict]:
    """Add to each exit's :func:`exit_complexity` its accuracies in percent, such as ``top1``."""
    metrics = metrics or {}
    rows = []
    for i, cost in enumerate(complexity, start=1):
        prefix = 'ensemble' if cost['exit'] == 'ensemble' else f'exit{i}'
        if len(complexity) == 1:
            prefix = 'accuracy'
        names = [name for name in metrics if name.startswith(f'{prefix}/')]
        rows.append({**cost, **{name.split('/')[1]: metrics[name] for name in names}})
    return rows


def format_exit_table(rows: Sequence[dict]) -> str:
    """The rows of :func:`exit_rows` as a Markdown table, one column per exit."""
    lines = [['exit', *(row['exit'] for row in rows)]]
    for name in rows[0]:
        if name.startswith('top'):
            lines.append([f'top-{name[3:]} (%)', *(f'{row[name]:.2f}' for row in rows)])
    for label, name, unit in (('params (M)', 'params', 1e6), ('FLOPs (G)', 'flops', 1e9)):
        lines.append([label, *(_scaled(row[name] / unit) for row in rows)])
    return format_table(lines, markdown=True)


def _scaled(number: float) -> str:
    """Two decimals, or three significant digits if less than 1."""
    return f'{number:.2f}' if number >= 1 else f'{number:.3g}'
