"""Time an exported network: every exit, and an exit policy. No torch needed.

Example:
    python tools/deploy/bench.py DIR --batch 1 64 --threads 1 2
    python tools/deploy/bench.py DIR --policy policy.json --images photos/
"""

import argparse

from mmrazor_byot.deploy.benchmark import (
    Images,
    bench,
    exit_shares,
    random_images,
    read_images,
    write_json,
)
from mmrazor_byot.deploy.runtime import (
    DeployedNetwork,
    choose_policy,
    report_errors,
)
from mmrazor_byot.deploy.stage_costs import stage_costs
from mmrazor_byot.deploy.table import format_table
from mmrazor_byot.deploy.timing import describe_machine

COLUMNS = (
    'what',
    'precision',
    'threads',
    'batch',
    'median_ms',
    'p95_ms',
    'images_per_s',
    'median_ratio',
    'throughput_ratio',
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', help='what export_onnx.py wrote')
    parser.add_argument('--threads', type=int, nargs='+', default=[1])
    parser.add_argument('--batch', type=int, nargs='+', default=[1, 64])
    parser.add_argument(
        '--seconds', type=float, default=2, help='how long each is timed. Defaults to 2'
    )
    parser.add_argument('--policy', help='policy file. Defaults to the exported policy')
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        '--images',
        help='real images: a folder, or a uint8 array (N, H, W, '
        '3) RGB as .npy or .npz. Without them pixels are random, and no '
        'policy can be timed',
    )
    what.add_argument('--config', help='a recipe, whose test images are taken (this needs torch)')
    parser.add_argument('--out', help='file for the numbers, as JSON')
    return parser.parse_args()


def choose_images(args: argparse.Namespace, network: DeployedNetwork) -> Images:
    """The images that the command line asks for."""
    if args.images:
        return read_images(args.images, network)
    if not args.config:
        return random_images(network)
    from mmrazor_byot.deploy.reference import test_images

    array = test_images(args.config, 1024)
    return Images(array, f'{len(array)} test images of {args.config}', True)


def main() -> None:
    args = parse_args()
    network = DeployedNetwork(args.folder, threads=1)
    precisions = list(network.manifest.files)
    images = choose_images(args, network)
    asked = args.policy is not None
    wanted = asked or network.manifest.policy is not None
    policy = choose_policy(network, args.policy, None) if wanted else None
    if policy is not None and not images.real and not asked:
        print('the exported policy is not timed: give real images by --images or --config')
        policy = None
    rows = []
    for threads in args.threads:
        networks = [DeployedNetwork(args.folder, precision, threads) for precision in precisions]
        for batch in args.batch:
            rows += bench(networks, images, batch, args.seconds, policy)
    result = dict(
        network=network.manifest.network,
        machine=describe_machine(),
        images=images.origin,
        policy=policy and policy.config(),
        exit_shares=policy and exit_shares(network, images, policy),
        rows=rows,
    )
    report(result, network.num_exits)
    if args.out:
        result['costs'] = stage_costs(  # only the file shows them
            DeployedNetwork(args.folder, threads=args.threads[0]), images.array[:1], args.seconds
        )
        write_json(args.out, result)


def report(result: dict, num_exits: int) -> None:
    """Print what was measured, and on what."""
    machine = result['machine']
    print(
        f'{result["network"]} on {result["images"]}; '
        f'{machine["processor"]}, {machine["cores"]} cores, onnxruntime '
        f'{machine["onnxruntime"]}; load average {machine["load_average"]}'
    )
    print(format_table(result['rows'], COLUMNS))
    print(
        'ratios: how many times as fast as the deepest exit of the first '
        'precision,\nof the same threads and batch, timed in turn with it'
    )
    if result['exit_shares']:
        print(
            f'{result["policy"]}\nleaves '
            + ', '.join(
                f'{share:.1%} at {i}/{num_exits}'
                for i, share in enumerate(result['exit_shares'], start=1)
            )
        )


if __name__ == '__main__':
    report_errors(main)
