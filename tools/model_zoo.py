"""List, download and verify the checkpoints of the model zoo.

Examples:
    python tools/model_zoo.py list
    python tools/model_zoo.py download byot_mmrazor_resnet18_8xb16_cifar100
    python tools/model_zoo.py verify FILE
"""

from mmrazor_byot.command import catch_signals, run_command

if __name__ == '__main__':
    catch_signals()

import argparse
import os
from typing import Tuple, Union

from mmrazor_byot.table import format_table
from mmrazor_byot.zoo import ZooModel, cached_file, download, list_models, verify

HEADER = ('name', 'dataset', 'top-1', 'params', 'FLOPs', 'size', 'where')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='Environment: MMRAZOR_BYOT_HOME is the cache folder, '
        'MMRAZOR_BYOT_MIRROR a mirror for all downloads.',
    )
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    command = commands.add_parser('list', help='show all models of the zoo')
    command.set_defaults(run=run_list)

    command = commands.add_parser(
        'download',
        help='download a checkpoint and print its path',
        description='Download a checkpoint and print its path. The file gets its name only after '
        'its hash has been checked.',
    )
    command.add_argument('name', metavar='NAME', help='a name from the list')
    command.add_argument(
        '--dest',
        metavar='DIR',
        help='folder for the file (default: the cache folder, which zoo://NAME uses too)',
    )
    command.add_argument(
        '--mirror',
        metavar='BASE',
        help='download BASE/FILE instead of the published URL; an http://, https:// or file:// '
        'URL, or a folder',
    )
    command.add_argument('--quiet', action='store_true', help='show no progress bar')
    command.set_defaults(run=run_download)

    command = commands.add_parser(
        'verify',
        help='check the hash of a checkpoint, and that it holds no code; show its content',
        description='Check a file against the hash in its name, and that it holds weights and no '
        'code; show its content.',
    )
    command.add_argument('file', metavar='FILE', help='a checkpoint')
    command.set_defaults(run=run_verify)
    return parser.parse_args()


def run_list(args: argparse.Namespace) -> None:
    print(format_table([HEADER, *map(describe, list_models())]))


def describe(model: ZooModel) -> Tuple[str, ...]:
    """A row of the table, with a dash for unknown values."""
    size, where = '-', model.weights or 'no weights published'
    if model.weights is not None:
        copies = [(model.shipped, ' (in the package)'), (cached_file(model), ' (downloaded)')]
        for copy, note in copies:
            if copy is not None and os.path.isfile(copy):
                size, where = human(copy.stat().st_size, 'B'), where + note
                break
    return (
        model.name,
        model.dataset or '-',
        '-' if model.top1 is None else f'{model.top1:.2f}',
        human(model.params),
        human(model.flops),
        size,
        where,
    )


def human(number: Union[int, float, None], unit: str = '') -> str:
    """11220132 as '11.22 M', None as '-'."""
    if number is None:
        return '-'
    for size, prefix in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if number >= size:
            return f'{number / size:.2f} {prefix}{unit}'
    return f'{number:g} {unit}'.strip()


def run_download(args: argparse.Namespace) -> None:
    print(download(args.name, args.dest, args.mirror, progress=not args.quiet))


def run_verify(args: argparse.Namespace) -> None:
    found = verify(args.file)
    compared = (
        'as in the name' if found.expected_sha256 else 'not compared: the name carries no hash'
    )
    print(f'file        {found.path}')
    print(f'size        {found.size} bytes')
    print(f'sha256      {found.sha256} ({compared})')
    print(f'tensors     {found.tensors}')
    print(f'parameters  {found.parameters}')
    # Printed by repr(), so that a file cannot send control codes to the terminal.
    for key in found.others:
        print(f'also holds  {key!r}')
    for key, value in found.meta.items():
        text = repr(value)
        text = text if len(text) <= 60 else text[:57] + '...'
        print(f'meta        {key!r}: {text}')


def main() -> None:
    args = parse_args()
    args.run(args)


if __name__ == '__main__':
    run_command(main)
