"""Mean magnitude of the gradient, layer by layer, in training.

Example:
    python projects/paper_discussion/plot_gradients.py --model CONFIG CKPT \\
        --model CONFIG2 CKPT2 --names BYOT plain --out DIR
"""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse
import itertools

from compare import add_network_arguments, image_loader, load_networks
from figures import plot_gradients
from gradient_flow import common_layers, mean_gradients, section_starts, trunk_layers
from mmengine.runner import set_random_seed

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation.collect import network_inputs
from mmrazor_byot.launch import only_warnings, run_tool
from mmrazor_byot.visualization.figures import output_folder, write_results


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_network_arguments(parser)
    parser.add_argument(
        '--batches', type=int, default=8, help='training batches that it is the mean over'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    only_warnings()
    if args.batches < 1:
        raise ConfigError(f'--batches {args.batches}: at least 1')
    out = output_folder(args.out)
    networks = load_networks(args)
    layers, gradients = {}, {}
    for network in networks:
        set_random_seed(args.seed)  # the same images and crops for all
        loader = image_loader(network.cfg, 'train_dataloader', seed=args.seed)
        batches = list(itertools.islice(loader, args.batches))
        gradients[network.name] = mean_gradients(network.model, batches)
        image, _ = network_inputs(network.model, batches[0])
        layers[network.name] = trunk_layers(network.model, image[:1])
    trunk = common_layers(layers)
    curves = {
        name: [found.get(layer, float('nan')) for layer in trunk]
        for name, found in gradients.items()
    }
    sections = max(layers.values(), key=lambda x: x[-1].section)
    figure = plot_gradients(curves, section_starts(sections))
    write_results(
        out,
        dict(gradients=figure),
        'gradients',
        dict(
            layers=trunk,
            sections=[layer.section for layer in sections],
            batches=len(batches),
            seed=args.seed,
            models=[
                dict(
                    **n.facts(),
                    gradients=curves[n.name],
                    exit_heads={
                        layer: size
                        for layer, size in gradients[n.name].items()
                        if layer not in trunk
                    },
                )
                for n in networks
            ],
        ),
    )


if __name__ == '__main__':
    run_tool(main)
