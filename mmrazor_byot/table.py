"""Rows as text, the one table that all commands print."""

from typing import Sequence


def format_table(rows: Sequence[Sequence[object]], markdown: bool = False) -> str:
    """Lay rows out as text: the first column to the left, others to the right.

    Args:
        rows (Sequence[Sequence]): Cells, the heading first; floats get three decimals.
        markdown (bool): As a table of Markdown. Defaults to False.
    """
    texts = [[f'{x:.3f}' if isinstance(x, float) else str(x) for x in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts)]
    lines = [
        [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        for row in texts
    ]
    if not markdown:
        return '\n'.join('  '.join(line).rstrip() for line in lines)
    rule = [f'{"-" * (width + 2 - bool(i))}{":" * bool(i)}' for i, width in enumerate(widths)]
    return '\n'.join(
        [
            f'| {" | ".join(lines[0])} |',
            f'|{"|".join(rule)}|',
            *(f'| {" | ".join(x)} |' for x in lines[1:]),
        ]
    )
