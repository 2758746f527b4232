"""What an export tells about itself. No torch here."""

from typing import List

from .manifest import Manifest
from .table import format_table


def export_report(manifest: Manifest) -> str:
    """A table of the exits, in every precision.

    Args:
        manifest (Manifest): Of the exported folder.
    """
    rows: List[dict] = []
    for precision, results in manifest.results.items():
        for cost, row in zip(manifest.exits, results):
            top1 = row.get('top1')
            rows.append(
                {
                    'exit': row['exit'],
                    'precision': precision,
                    'top-1 (%)': '-' if top1 is None else f'{top1:.2f}',
                    'ms': '-' if row['ms'] is None else row['ms'],
                    'params (M)': f'{cost["params"] / 1e6:.3g}',
                    'FLOPs (G)': f'{cost["flops"] / 1e9:.3g}',
                }
            )
    check = manifest.check
    return (
        f'{manifest.network}: {manifest.num_exits} exits, opset '
        f'{manifest.opset}; the logits of {check["images"]} '
        f'{check["origin"]} are within {check["largest_difference"]:.2g} '
        "of torch's\n"
        + format_table(rows, list(rows[0]))
        + '\nms: median of one image on one thread, on this machine'
    )
