"""Count params and FLOPs of the network cut at each exit."""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse
import json

from mmengine.registry import init_default_scope

from mmrazor_byot.evaluation import exit_complexity, format_exit_table
from mmrazor_byot.exits.shapes import image_size
from mmrazor_byot.files import check_writable, write_text
from mmrazor_byot.launch import add_config_options, load_config, run_tool
from mmrazor_byot.registry import MODELS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        help='size of an image: S, or H W. Defaults to input_size of the config, or 32',
    )
    parser.add_argument('--out', help='file for the numbers, as JSON')
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out:
        check_writable(args.out)
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    if args.shape and cfg.model.type.endswith('BYOT'):
        cfg.model.input_size = args.shape
    model = MODELS.build(cfg.model)
    size = image_size(args.shape or getattr(model, 'input_size', 32))
    rows = exit_complexity(model, size)
    print(f'{args.config}, images of {size}; a multiply-add is one FLOP')
    print(format_exit_table(rows))
    if args.out:
        write_text(args.out, json.dumps(rows, indent=2))


if __name__ == '__main__':
    run_tool(main)
