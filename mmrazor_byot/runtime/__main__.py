"""Classify images with an exported network."""

import argparse
import json
import sys
import time
from typing import Callable, Iterator, List, Optional, Sequence

from mmrazor_byot.errors import ByotError, ConfigError, DatasetError


def report_errors(main: Callable[[], None]) -> None:
    """Run a command; an error of the user's is one line and exit status 1."""
    try:
        main()
    except ByotError as e:
        sys.stdout.flush()
        print(f'error: {e}', file=sys.stderr, flush=True)
        sys.exit(1)


def parse_args(words: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m mmrazor_byot.runtime', description='Classify images with one exported file.'
    )
    parser.add_argument('model', help='what tools/deploy/export_onnx.py wrote')
    parser.add_argument('images', nargs='*', help='image files, and folders of them')
    parser.add_argument('--info', action='store_true', help='print what the file says about itself')
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        '--threshold', type=float, nargs='+', metavar='T',
        help='certainty from 0 to 1 at which an exit answers: one for all, or one for each but the '
        'last. Defaults to those of the file',
    )  # fmt: skip
    when.add_argument('--exit', type=int, metavar='I', help='stop at this exit')
    parser.add_argument('--json', action='store_true', help='answer as JSON, not as a table')
    parser.add_argument('--threads', type=int, help='defaults to one a core')
    parser.add_argument(
        '--skip-bad', action='store_true',
        help='go on after a file that cannot be read, and list these at the end',
    )  # fmt: skip
    parser.add_argument('--max-pixels', type=int, help='largest image that is read')
    return parser.parse_args(words)


def answers(args: argparse.Namespace, skipped: List[str]) -> Iterator[dict]:
    """Classify image after image; what is wrong with bad files is added to ``skipped``.

    Yields:
        dict: ``image``, ``class`` (its name), ``label``, ``score``, ``exit`` (``'2/4'``) and
        ``ms``, without the reading of the file.

    Raises:
        ByotError: Something does not fit, or an image cannot be read.
    """
    from mmrazor_byot.files import list_images

    from .images import MAX_PIXELS, read_image
    from .model import EarlyExitModel
    from .resize import prepare

    paths = list_images(args.images)
    model = EarlyExitModel(args.model, args.threads)
    about = model.metadata
    thresholds = args.threshold if args.exit is None else model.stop_at(args.exit)
    model.warm_up()
    for path in paths:
        try:
            image = read_image(path, args.max_pixels or MAX_PIXELS)
        except DatasetError as e:
            if not args.skip_bad:
                raise
            skipped.append(str(e))
            continue
        image = prepare(image, about.resize, about.input_size)
        begin = time.perf_counter()
        scores, exits, *_ = model(image[None], thresholds)
        spent = (time.perf_counter() - begin) * 1000
        label = int(scores[0].argmax())
        yield {
            'image': path,
            'class': about.classes[label],
            'label': label,
            'score': round(float(scores[0, label]), 6),
            'exit': f'{exits[0]}/{about.num_exits}',
            'ms': round(spent, 3),
        }
    if len(skipped) == len(paths):
        raise DatasetError(f'none of the {len(paths)} images can be read; the first: {skipped[0]}')


def print_info(path: str, as_json: bool) -> None:
    """Print the metadata of a file."""
    from mmrazor_byot.table import format_table

    from .model import EarlyExitModel

    about = EarlyExitModel(path, threads=1).metadata
    if as_json:
        print(json.dumps(vars(about), indent=2))
        return
    for name, value in vars(about).items():
        if name != 'exits':
            text = value if isinstance(value, str) else json.dumps(value)
            print(f'{name:<18}{text if len(text) < 200 else text[:197] + "..."}')
    columns = 'exit', 'MACs (G)', 'top-1 (%)'
    rows = [
        [
            f'{row["exit"]}/{about.num_exits}',
            f'{row["macs"] / 1e9:.3g}',
            '-' if row['top1'] is None else f'{row["top1"]:.2f}',
        ]
        for row in about.exits
    ]
    print('\n' + format_table([columns, *rows]))


def main(words: Optional[Sequence[str]] = None) -> None:
    """Answer, as the command line asks."""
    args = parse_args(words)
    if not args.images and not args.info:
        raise ConfigError('no images: give image files, folders of them, or --info')
    if args.max_pixels is not None and args.max_pixels < 1:
        raise ConfigError(f'--max-pixels {args.max_pixels}: at least 1')
    if args.info:
        print_info(args.model, args.json)
        return
    from mmrazor_byot.table import format_table

    skipped: List[str] = []
    rows = list(answers(args, skipped))
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        columns = 'image', 'class', 'score', 'exit', 'ms'
        print(format_table([columns, *([row[c] for c in columns] for row in rows)]))
    for reason in skipped:
        print(f'skipped: {reason}', file=sys.stderr)


if __name__ == '__main__':
    report_errors(main)
