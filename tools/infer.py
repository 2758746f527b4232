"""Classify images; each stops at the exit that the policy chooses.

Example:
    python tools/infer.py three.png --model byot_resnet18_2xb64_digits
    python tools/infer.py PICTURES --model CONFIG --weights CHECKPOINT \\
        --policy policy.json --show-dir shown --out results.json
"""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse
import json
import sys
from typing import Union

from mmrazor_byot.early_exit import ExitPolicy, FixedExitPolicy
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import check_writable, list_images, write_text
from mmrazor_byot.launch import add_config_options, load_config, only_warnings, run_tool
from mmrazor_byot.runtime.images import MAX_PIXELS
from mmrazor_byot.runtime.results import class_width, result_text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files or folders')
    parser.add_argument('--model', required=True, help='config file, or a name in the zoo')
    parser.add_argument(
        '--weights',
        help='checkpoint: file, URL or zoo://NAME. Defaults to those that the zoo has for the '
        'model',
    )
    parser.add_argument('--policy', help='policy file')
    parser.add_argument(
        '--exit',
        type=int,
        metavar='I',
        help='stop at this exit, 1 is the shallowest. Defaults to the deepest',
    )
    parser.add_argument(
        '--ensemble',
        action='store_true',
        help='predict with the mean of all exits; with --exit, of the exits up to it',
    )
    parser.add_argument('--batch-size', type=int, default=1, help='images per batch')
    parser.add_argument(
        '--device', help='such as cuda:0 or cpu. Defaults to the GPU if there is one'
    )
    parser.add_argument('--topk', type=int, default=3, help='classes to print for each exit')
    parser.add_argument('--show-dir', help='folder to write pictures to')
    parser.add_argument(
        '--skip-bad',
        action='store_true',
        help='skip files that cannot be read, and list them at the end',
    )
    parser.add_argument(
        '--max-pixels', type=int, default=MAX_PIXELS, help='largest image that is read'
    )
    parser.add_argument('--out', help='JSON file to write the results to')
    add_config_options(parser)
    return parser.parse_args()


def chosen_policy(args: argparse.Namespace) -> Union[ExitPolicy, str, None]:
    """The policy of the flags; None without any."""
    by_flags = args.exit is not None or args.ensemble
    if args.policy and by_flags:
        raise ConfigError(
            '--policy sets the exit and the ensemble; leave --exit and --ensemble out'
        )
    if by_flags:
        return FixedExitPolicy(-1 if args.exit is None else args.exit, ensemble=args.ensemble)
    return args.policy


def write_results(path: str, policy: ExitPolicy, images: list, results: list) -> None:
    rows = [
        {'image': image, **result, 'pred_scores': result['pred_scores'].tolist()}
        for image, result in zip(images, results)
        if result is not None
    ]
    text = json.dumps(dict(policy=policy.config(), images=rows), indent=2)
    write_text(path, text + '\n')


def main() -> None:
    args = parse_args()
    only_warnings()
    if args.out:
        check_writable(args.out)
    if args.show_dir:
        check_writable(args.show_dir, is_folder=True)
    # Imported here because it takes seconds, which would delay --help.
    from mmrazor_byot.apis import ByotInferencer
    from mmrazor_byot.apis.model import recipe_path

    images = list_images(args.images)
    inferencer = ByotInferencer(
        load_config(recipe_path(args.model), args.cfg_options),
        pretrained=args.weights or True,
        device=args.device,
        policy=chosen_policy(args),
        show_progress=sys.stderr.isatty(),
        max_pixels=args.max_pixels,
    )
    results = inferencer(
        images,
        batch_size=args.batch_size,
        skip_bad=args.skip_bad,
        topk=args.topk,
        show_dir=args.show_dir,
    )
    width = class_width([result for result in results if result is not None])
    for image, result in zip(images, results):
        if result is not None:
            print(result_text(image, result, width))
    for reason in inferencer.skipped.values():
        print(f'skipped: {reason}', file=sys.stderr)
    if args.out:
        write_results(args.out, inferencer.policy, images, results)


if __name__ == '__main__':
    run_tool(main)
