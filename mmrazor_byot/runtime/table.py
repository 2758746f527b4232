"""Rows as text."""

from typing import List, Sequence


def format_table(rows: List[dict], columns: Sequence[str]) -> str:
    """Lay rows out as text: the first column to the left, others right.

    Args:
        rows (list[dict]): Numbers are shown with three decimals.
        columns (Sequence[str]): Which entries, in this order.
    """
    lines = [list(columns)]
    for row in rows:
        lines.append(
            [f'{row[c]:.3f}' if isinstance(row[c], float) else str(row[c]) for c in columns]
        )
    widths = [max(map(len, column)) for column in zip(*lines)]
    return '\n'.join(
        '  '.join(
            [line[0].ljust(widths[0]), *(c.rjust(width) for c, width in zip(line[1:], widths[1:]))]
        ).rstrip()
        for line in lines
    )
