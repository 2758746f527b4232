"""Flatness of the minimum: accuracy under noise on the weights.

Example:
    python projects/paper_discussion/plot_flatness.py --model CONFIG CKPT \\
        --model CONFIG2 CKPT2 --names BYOT plain --out DIR
"""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse

from compare import add_network_arguments, check_same_images, image_loader, load_networks
from figures import plot_flatness
from flatness import check_noise, measure_flatness, summary

from mmrazor_byot.launch import only_warnings, run_tool
from mmrazor_byot.visualization.figures import output_folder, write_results

#: Standard deviations of the noise, absolute and by that of the tensor.
SIGMAS = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04)
RELATIVE_SIGMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_network_arguments(parser)
    parser.add_argument(
        '--relative',
        action='store_true',
        help='noise by the standard deviation of each tensor, which compares '
        'networks of different widths. Defaults to the same noise for all',
    )
    parser.add_argument(
        '--sigmas',
        type=float,
        nargs='+',
        help='standard deviations of the noise; 0 is always there. Defaults '
        f'to {SIGMAS}, with --relative to {RELATIVE_SIGMAS}',
    )
    parser.add_argument('--draws', type=int, default=3, help='how often noise is drawn')
    parser.add_argument(
        '--limit-images',
        type=int,
        metavar='N',
        help='test on N images, spread over the test set. Defaults to all; they are kept in memory',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    only_warnings()
    out = output_folder(args.out)
    sigmas = args.sigmas or (RELATIVE_SIGMAS if args.relative else SIGMAS)
    sigmas = sorted({0.0, *sigmas})
    check_noise(sigmas, args.draws)
    networks = load_networks(args)
    batches = {n.name: list(image_loader(n.cfg, limit=args.limit_images)) for n in networks}
    images = check_same_images(batches)
    curves, models = {}, []
    for network in networks:
        found = measure_flatness(
            network.model, batches[network.name], sigmas, args.draws, args.seed, args.relative
        )
        curves[network.name] = rows = summary(found)
        models.append(
            dict(
                **network.facts(),
                noisy_weights=found['weights'],
                exits=[
                    {**row, 'top1_draws': top1, 'loss_draws': loss}
                    for row, top1, loss in zip(rows, found['top1'], found['loss'])
                ],
            )
        )
    label = 'noise on the weights, $\\sigma$'
    if args.relative:
        label += ' / std of the tensor'
    write_results(
        out,
        dict(flatness=plot_flatness(curves, sigmas, label)),
        'flatness',
        dict(
            noise='relative' if args.relative else 'absolute',
            sigmas=sigmas,
            draws=args.draws,
            seed=args.seed,
            images=images,
            models=models,
        ),
    )


if __name__ == '__main__':
    run_tool(main)
