"""How far apart the classes are in the features of each exit.

Example:
    python projects/paper_discussion/plot_separability.py CONFIG CKPT --out DIR
"""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse

import numpy as np
from compare import add_output_arguments, class_names, image_loader, load_network
from figures import plot_separability
from separability import PROJECTIONS, collect_features, project, shown_classes, sums_of_squares

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.launch import only_warnings, run_tool
from mmrazor_byot.visualization.figures import output_folder, write_results


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file, with or without exits')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument(
        '--classes',
        type=int,
        default=10,
        metavar='N',
        help='draw the first N classes, 2 to 20. Defaults to 10; the numbers '
        'are always of all classes',
    )
    parser.add_argument(
        '--projection',
        choices=PROJECTIONS,
        default='pca',
        help='to the plane: the two directions of most variance, or t-SNE',
    )
    parser.add_argument(
        '--limit-images',
        type=int,
        metavar='N',
        help='take N images, spread over the test set. Defaults to all',
    )
    add_output_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    only_warnings()
    out = output_folder(args.out)
    if not 2 <= args.classes <= 20:
        raise ConfigError(f'--classes {args.classes}: 2 to 20 are told apart by their colors')
    network = load_network(args.config, args.checkpoint, args)
    loader = image_loader(network.cfg, limit=args.limit_images)
    exits, labels = collect_features(network.model, loader)
    sums = [sums_of_squares(found.features, labels) for found in exits]
    shown, drawn = shown_classes(labels, args.classes)
    panels = []
    for i, (found, found_sums) in enumerate(zip(exits, sums), start=1):
        points, explained = project(found.features[drawn], args.projection, args.seed)
        panels.append(
            dict(
                exit=f'{i}/{len(exits)}',
                size=found.features.shape[1],
                **found_sums,
                top1=100 * float((found.answers == labels).mean()),
                explained=explained,
                points=points,
            )
        )
    names = class_names(loader.dataset, shown)
    figure = plot_separability(panels, np.searchsorted(shown, labels[drawn]), names)
    numbers = [{k: v for k, v in panel.items() if k != 'points'} for panel in panels]
    write_results(
        out,
        dict(separability=figure),
        'separability',
        dict(
            **network.facts(),
            images=len(labels),
            classes=len(np.unique(labels)),
            drawn_classes=names,
            projection=args.projection,
            exits=numbers,
        ),
    )


if __name__ == '__main__':
    run_tool(main)
