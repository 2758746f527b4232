"""Export a trained network to ONNX: a folder that runs without torch.

Example:
    python tools/deploy/export_onnx.py CONFIG CKPT --out DIR --int8
    python -m mmrazor_byot.deploy.runtime DIR IMAGE...
"""

import argparse

from mmrazor_byot.errors import DeployError
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
    parser.add_argument('checkpoint', help='its checkpoint: file, address or zoo://NAME')
    parser.add_argument('--out', required=True, help='folder to write')
    parser.add_argument('--int8', action='store_true', help='write 8-bit models too')
    parser.add_argument(
        '--policy',
        help='policy file: when the runtime stops. Without one it answers with the deepest exit',
    )
    parser.add_argument(
        '--images',
        type=int,
        default=256,
        help='calibration images to compare with torch on, and to quantize with. Defaults to 256',
    )
    parser.add_argument(
        '--random-images',
        action='store_true',
        help='compare on random pixels, where there are no calibration images',
    )
    parser.add_argument(
        '--eval-images',
        type=int,
        help='test images for the accuracies; 0: measure none. Defaults to all',
    )
    parser.add_argument('--opset', type=int, default=18, help='ONNX operators. Defaults to 18')
    parser.add_argument('--force', action='store_true', help='replace an exported folder')
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    only_warnings()
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as e:
        raise DeployError(
            f'the export needs more packages ({e}): pip install "mmrazor_byot[deploy]"'
        ) from e
    from mmrazor_byot.deploy.export_folder import Settings, export_folder
    from mmrazor_byot.deploy.report import export_report

    names = Settings._fields
    settings = Settings(**{name: getattr(args, name) for name in names})
    manifest = export_folder(load_config(args), args.checkpoint, args.out, settings)
    print(export_report(manifest))
    print(args.out)


if __name__ == '__main__':
    run_tool(main)
