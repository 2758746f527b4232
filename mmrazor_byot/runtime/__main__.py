"""Classify images with an exported network."""

import argparse
import json
import sys
from typing import Any, Dict, Iterator, List, Optional, Sequence

from mmrazor_byot.command import catch_signals, run_command
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.files import list_images
from mmrazor_byot.table import format_table


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m mmrazor_byot.runtime', description='Classify images with one exported file.'
    )
    parser.add_argument('model', help='what tools/deploy/export_onnx.py wrote')
    parser.add_argument('images', nargs='*', help='image files, and folders of them')
    parser.add_argument('--info', action='store_true', help='print the metadata of the file')
    stop = parser.add_mutually_exclusive_group()
    stop.add_argument(
        '--threshold', type=float, nargs='+', metavar='T',
        help='confidence from 0 to 1 at which an image exits: one for all exits, or one for each '
        'but the last. Defaults to those of the file',
    )  # fmt: skip
    stop.add_argument('--exit', type=int, metavar='I', help='stop at this exit')
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    parser.add_argument(
        '--threads', type=int, help='threads of ONNX Runtime. Defaults to one per core'
    )
    parser.add_argument(
        '--skip-bad', action='store_true',
        help='skip files that cannot be read, and list them at the end',
    )  # fmt: skip
    parser.add_argument('--max-pixels', type=int, help='refuse images with more pixels')
    return parser.parse_args(argv)


def classify(args: argparse.Namespace, skipped: List[str]) -> Iterator[Dict[str, Any]]:
    """Classify image after image; the errors of files that are skipped go to ``skipped``.

    Yields:
        dict: ``image`` (its path), ``class`` (the name), ``label``, ``score``, ``exit``
        (``'2/4'``) and ``ms``, the time of the network alone.

    Raises:
        ByotError: The file cannot be run, or an image cannot be read.
    """
    from .model import EarlyExitModel

    paths = list_images(args.images)
    model = EarlyExitModel(args.model, args.threads)
    thresholds = args.threshold if args.exit is None else model.stop_at(args.exit)
    for path in paths:
        try:
            (result,) = model.classify(path, thresholds, max_pixels=args.max_pixels)
        except DatasetError as e:
            if not args.skip_bad:
                raise
            skipped.append(str(e))
            continue
        yield {
            'image': path,
            'class': result['pred_class'],
            'label': result['pred_label'],
            'score': round(result['pred_score'], 6),
            'exit': f'{result["exit"]}/{result["num_exits"]}',
            'ms': round(result['time_ms'], 3),
        }
    if len(skipped) == len(paths):
        raise DatasetError(f'none of the {len(paths)} images can be read; the first: {skipped[0]}')


def print_info(path: str, as_json: bool) -> None:
    """Print the metadata of a file."""
    from .model import EarlyExitModel

    metadata = EarlyExitModel(path, threads=1).metadata
    if as_json:
        print(json.dumps(vars(metadata), indent=2))
        return
    for name, value in vars(metadata).items():
        if name != 'exits':
            text = value if isinstance(value, str) else json.dumps(value)
            print(f'{name:<18}{text if len(text) < 200 else text[:197] + "..."}')
    columns = 'exit', 'MACs (G)', 'top-1 (%)'
    rows = [
        [
            f'{row["exit"]}/{metadata.num_exits}',
            f'{row["macs"] / 1e9:.3g}',
            '-' if row['top1'] is None else f'{row["top1"]:.2f}',
        ]
        for row in metadata.exits
    ]
    print('\n' + format_table([columns, *rows]))


def main(argv: Optional[Sequence[str]] = None) -> None:
    args = parse_args(argv)
    if not args.images and not args.info:
        raise ConfigError('no images: give image files, folders of them, or --info')
    if args.max_pixels is not None and args.max_pixels < 1:
        raise ConfigError(f'--max-pixels {args.max_pixels}: at least 1')
    if args.info:
        print_info(args.model, args.json)
        return
    skipped: List[str] = []
    rows = list(classify(args, skipped))
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        columns = 'image', 'class', 'score', 'exit', 'ms'
        print(format_table([columns, *([row[c] for c in columns] for row in rows)]))
    for reason in skipped:
        print(f'skipped: {reason}', file=sys.stderr)


if __name__ == '__main__':
    catch_signals()
    run_command(main)
