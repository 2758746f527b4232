"""Time exported files: every exit, the policy, and plain networks in turn. Needs no torch.

Example:
    python tools/deploy/bench.py model.onnx int8.onnx plain.onnx --batch 1 64
    python tools/deploy/bench.py model.onnx --images photos/ --out costs.json
"""

from mmrazor_byot.command import catch_signals, run_command

if __name__ == '__main__':
    catch_signals()

import argparse
import json
from pathlib import Path

import numpy as np

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import check_writable, write_text
from mmrazor_byot.runtime import EarlyExitModel, Metadata
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
    parser.add_argument('models', nargs='+', help='files written by export_onnx.py')
    parser.add_argument('--threads', type=int, nargs='+', default=[1])
    parser.add_argument('--batch', type=int, nargs='+', default=[1, 64])
    parser.add_argument(
        '--seconds', type=float, default=2, help='seconds to time each. Defaults to 2'
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        '--images',
        help='folder of images, labelled if its subfolders are named as the classes. By default '
        'pixels are random, and no policy is timed',
    )
    what.add_argument('--config', help='take the test images of this config (needs torch)')
    parser.add_argument(
        '--out', help='JSON file for the results; tools/calibrate_exits.py --costs reads it'
    )
    return parser.parse_args()


def load_images(args: argparse.Namespace, metadata: Metadata) -> Images:
    """The images chosen on the command line."""
    if args.images:
        return read_images(args.images, metadata)
    if not args.config:
        shape = (64, *metadata.input_size, 3)
        return Images(np.random.default_rng(0).integers(0, 256, shape, np.uint8), None, '')
    from mmrazor_byot.export.recipe_images import first_images

    array, labels = first_images(args.config, 1024)
    return Images(array, labels, f'{len(array)} test images of {args.config}')


def main() -> None:
    args = parse_args()
    if args.out:
        check_writable(args.out)
    rows, costs = [], None
    for threads in args.threads:
        models = {Path(path).name: EarlyExitModel(path, threads) for path in args.models}
        if len(models) < len(args.models):
            raise ConfigError('two files have the same name: rename one')
        if not rows:
            first = next(iter(models.values())).metadata
            images = load_images(args, first)
            accuracy = {name: measure_accuracy(model, images) for name, model in models.items()}
        for batch in args.batch:
            timed = bench(models, images, batch, args.seconds)
            rows += [
                dict(threads=threads, **accuracy[r['file']].get(r['what'], {}), **r) for r in timed
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
    """Print the results, and the machine and images they were measured on."""
    machine = result['machine']
    print(
        f'{result["network"]} on {result["images"]}; {machine["processor"]}, {machine["cores"]} '
        f'cores, onnxruntime {machine["onnxruntime"]}; load average {machine["load_average"]}'
    )
    labelled = ('top1',) if all('top1' in row for row in result['rows']) else ()
    columns = (*COLUMNS, *labelled)
    print(format_table([columns, *([row[c] for c in columns] for row in result['rows'])]))
    print(
        'ratio: images per second, relative to the network cut at the deepest exit if there is\n'
        'such a file, else to the deepest exit of the first file, for the same threads and batch'
    )
    for name in result['files']:
        row = next((r for r in result['rows'] if (r['file'], r['what']) == (name, 'policy')), None)
        if row:
            stops = ', '.join(f'{fraction:.1%}' for fraction in row['stops'])
            print(f'{name}: {stops} of the images stop at its exits')


if __name__ == '__main__':
    run_command(main)
