"""Export a trained network, or the classifier cut at one exit, to mmpretrain.

Example:
    python tools/model_converters/export_student.py CONFIG CKPT --out DIR
    python tools/model_converters/export_student.py CONFIG CKPT --out DIR \\
        --exit 2
"""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse

from mmrazor_byot.export.classifier import export_classifier
from mmrazor_byot.files import check_writable
from mmrazor_byot.launch import (
    add_config_options,
    load_config,
    only_warnings,
    run_tool,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file of the BYOT network')
    parser.add_argument('checkpoint', help='its checkpoint: file, URL or zoo://NAME')
    parser.add_argument('--out', required=True, help='folder to write to')
    parser.add_argument(
        '--exit',
        type=int,
        metavar='I',
        help='cut the network at this exit, 1 is the shallowest. Defaults to the deepest: the full '
        'network, which needs mmpretrain alone',
    )
    parser.add_argument(
        '--force', action='store_true', help='replace another config of the same name'
    )
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    only_warnings()
    check_writable(args.out, is_folder=True)
    exported = export_classifier(
        load_config(args.config, args.cfg_options), args.checkpoint, args.out, args.exit, args.force
    )
    print(f'{exported.params} parameters, same logits as in {args.checkpoint}:')
    print(exported.config)
    print(exported.checkpoint)


if __name__ == '__main__':
    run_tool(main)
