"""Text tables, as all tools print them."""

from typing import Sequence


def format_table(rows: Sequence[Sequence[object]], markdown: bool = False) -> str:
    """Format rows as a text table; the first column is left-aligned, the others right-aligned.

    Args:
        rows (Sequence[Sequence]): The cells, header first; floats are given three decimals.
        markdown (bool): Whether to write a Markdown table. Defaults to False.
    """
    texts = [[f'{x:.3f}' if isinstance(x, float) else str(x) for x in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts)]
    lines = [
        [f'{cell:>{width}}' if i else f'{cell:<{width}}' for i, (cell, width) in cells]
        for cells in (enumerate(zip(row, widths)) for row in texts)
    ]
    if not markdown:
        return '\n'.join('  '.join(line).rstrip() for line in lines)
    header, *body = [f'| {" | ".join(line)} |' for line in lines]
    dashes = [f'{"-" * (width + 1)}{":" if i else "-"}' for i, width in enumerate(widths)]
    return '\n'.join([header, f'|{"|".join(dashes)}|', *body])
