"""Export a trained early-exit network as one ONNX file.

Example:
    python tools/deploy/export_onnx.py CONFIG CHECKPOINT --out model.onnx --policy policy.json
    python -m mmrazor_byot.runtime model.onnx IMAGE...
"""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse

from mmrazor_byot.errors import DeployError
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
    parser.add_argument('--out', required=True, help='file to write')
    stop = parser.add_mutually_exclusive_group()
    stop.add_argument(
        '--policy',
        help='exit policy file. Without one all images run to the deepest exit unless the caller '
        'passes thresholds',
    )
    stop.add_argument('--exit', type=int, metavar='I', help='export the network cut at this exit')
    parser.add_argument('--int8', action='store_true', help='quantize the network to 8 bits')
    parser.add_argument(
        '--all-scores',
        action='store_true',
        help='also output the scores of every exit that was reached',
    )
    parser.add_argument(
        '--no-data',
        action='store_true',
        help='do not read the data set: compare with torch on random pixels, and measure no '
        'accuracy',
    )
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_writable(args.out)
    only_warnings()
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as e:
        raise DeployError(
            f'the export needs additional packages ({e}): pip install "mmrazor_byot[deploy]"'
        ) from e
    from mmrazor_byot.export.export_onnx import export_onnx
    from mmrazor_byot.export.write_export import format_export

    export = export_onnx(
        load_config(args.config, args.cfg_options),
        args.checkpoint,
        args.out,
        policy=args.policy,
        exit_number=args.exit,
        int8=args.int8,
        all_scores=args.all_scores,
        no_data=args.no_data,
    )
    print(format_export(export))
    print(args.out)


if __name__ == '__main__':
    run_tool(main)
