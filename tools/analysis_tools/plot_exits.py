"""Plot accuracy, cost, time and images of early exiting."""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse
from pathlib import Path

import torch
from mmengine.runner import Runner

from mmrazor_byot.datasets import check_data, per_image, reads_bgr
from mmrazor_byot.early_exit import ConfidencePolicy, read_policy
from mmrazor_byot.launch import add_config_options, load_config, run_tool
from mmrazor_byot.models.loading import dataset_meta, load_byot
from mmrazor_byot.visualization.exit_plots import (
    plot_exit_fractions,
    plot_gallery,
    plot_trade_off,
)
from mmrazor_byot.visualization.figures import output_folder, write_results
from mmrazor_byot.visualization.trade_off import gallery_rows, measure_trade_off

#: Policy of the gallery if none is given.
GALLERY = ConfidencePolicy(0.7)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument(
        '--policy',
        nargs='*',
        default=[],
        help='policy files, each drawn as a point; the curve uses the temperatures of the first',
    )
    parser.add_argument('--out', required=True, help='folder for the figures and their data')
    parser.add_argument(
        '--timed-images',
        type=int,
        default=200,
        help='images to time at every threshold, with batch size 1',
    )
    parser.add_argument('--columns', type=int, default=10, help='images per row of the gallery')
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    out = output_folder(args.out)
    cfg = load_config(args.config, args.cfg_options)
    policies = {Path(p).stem: read_policy(p) for p in args.policy}
    model, _, meta = load_byot(cfg, args.checkpoint)
    for content in policies.values():
        content.check(model.num_exits, model.num_classes)
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    loader = Runner.build_dataloader(cfg.test_dataloader)
    check_data(loader, 'test_dataloader', model.num_classes, dataset_meta(meta).get('classes'))
    found, data = measure_trade_off(
        model, loader, {name: c.policy for name, c in policies.items()}, args.timed_images
    )
    shown = next((c.policy for c in policies.values()), GALLERY)
    rows = gallery_rows(
        data,
        loader,
        shown,
        args.columns,
        reads_bgr(per_image(cfg.test_dataloader).dataset.pipeline),
    )
    points = [found[name] for name in ('curve', 'exits', 'policies')]
    figures = dict(
        accuracy_flops=plot_trade_off(*points, 'mflops', 'MACs (M)'),
        accuracy_time=plot_trade_off(*points, 'ms', 'time of an image (ms)'),
        exit_shares=plot_exit_fractions(found['curve'], model.num_exits),
        gallery=plot_gallery(rows, args.columns),
    )
    write_results(out, figures, 'exits', found)


if __name__ == '__main__':
    run_tool(main)
