"""Time exported files: every exit, the policy, and a plain network beside them. No torch needed.

Example:
    python tools/deploy/bench.py model.onnx int8.onnx plain.onnx --batch 1 64
    python tools/deploy/bench.py model.onnx --images photos/ --out costs.json
"""

import argparse
import json
from pathlib import Path

import numpy as np

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import check_writable, clean_up_on_sigterm, write_text
from mmrazor_byot.runtime import EarlyExitModel, Metadata
from mmrazor_byot.runtime.__main__ import report_errors
from mmrazor_byot.runtime.bench import (
    Images,
    bench,
    exit_costs,
    measure_accuracy,
    read_images,
)
from mmrazor_byot.runtime.timing import describe_machine
from mmrazor_byot.table import format_table

COLUMNS = ('what', 'file', 'threads', 'batch', 'median_ms', 'p95_ms', 'images_per_s', 'ratio')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('models', nargs='+', help='what export_onnx.py wrote')
    parser.add_argument('--threads', type=int, nargs='+', default=[1])
    parser.add_argument('--batch', type=int, nargs='+', default=[1, 64])
    parser.add_argument(
        '--seconds', type=float, default=2, help='how long each is timed. Defaults to 2'
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        '--images',
        help='folder of real images, labelled if its folders are named as the classes. Without '
        'it pixels are random, and no policy is timed',
    )
    what.add_argument('--config', help='a recipe, whose test images are taken (this needs torch)')
    parser.add_argument(
        '--out', help='file for the numbers, as JSON; tools/calibrate_exits.py --costs reads it'
    )
    return parser.parse_args()


def choose_images(args: argparse.Namespace, about: Metadata) -> Images:
    """The images that the command line asks for."""
    if args.images:
        return read_images(args.images, about)
    if not args.config:
        shape = (64, *about.input_size, 3)
        return Images(np.random.default_rng(0).integers(0, 256, shape, np.uint8), None, '')
    from mmrazor_byot.export.recipe_images import first_images

    array, labels = first_images(args.config, 1024)
    return Images(array, labels, f'{len(array)} test images of {args.config}')


def main() -> None:
    args = parse_args()
    clean_up_on_sigterm()
    if args.out:
        check_writable(args.out)
    rows, costs = [], None
    for threads in args.threads:
        models = {Path(path).name: EarlyExitModel(path, threads) for path in args.models}
        if len(models) < len(args.models):
            raise ConfigError('two files have the same name: give each another')
        if not rows:
            first = next(iter(models.values())).metadata
            images = choose_images(args, first)
            found = {name: measure_accuracy(model, images) for name, model in models.items()}
        for batch in args.batch:
            timed = bench(models, images, batch, args.seconds)
            rows += [
                dict(threads=threads, **found[r['file']].get(r['what'], {}), **r) for r in timed
            ]
            if batch == 1 and costs is None:
                costs = exit_costs(models, timed)
    result = dict(
        network=first.recipe,
        machine=describe_machine(),
        images=images.origin or 'random pixels',
        files={name: model.metadata.policy for name, model in models.items()},
        rows=rows,
        costs=costs,
    )
    report(result)
    if args.out:
        write_text(args.out, json.dumps(result, indent=2) + '\n')


def report(result: dict) -> None:
    """Print what was measured, and on what."""
    machine = result['machine']
    print(
        f'{result["network"]} on {result["images"]}; {machine["processor"]}, {machine["cores"]} '
        f'cores, onnxruntime {machine["onnxruntime"]}; load average {machine["load_average"]}'
    )
    labelled = ('top1',) if all('top1' in row for row in result['rows']) else ()
    columns = (*COLUMNS, *labelled)
    print(format_table([columns, *([row[c] for c in columns] for row in result['rows'])]))
    print(
        'ratio: how many times as fast, of the same threads and batch, as the network cut at the\n'
        'deepest exit if there is such a file, else as the deepest exit of the first file'
    )
    for name in result['files']:
        row = next((r for r in result['rows'] if (r['file'], r['what']) == (name, 'policy')), None)
        if row:
            stops = ', '.join(f'{fraction:.1%}' for fraction in row['stops'])
            print(f'{name}: of the images {stops} stop at its exits')


if __name__ == '__main__':
    report_errors(main)
