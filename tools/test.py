"""Test a checkpoint: accuracy of every exit and of the ensemble.

With --policy: accuracy, FLOPs and time of early exiting.
"""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse
import json

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.runner import Runner

from mmrazor_byot.datasets import check_data
from mmrazor_byot.early_exit import read_policy
from mmrazor_byot.early_exit.measure import evaluate_policy, format_policy_test
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import check_writable, write_text
from mmrazor_byot.launch import (
    add_runner_arguments,
    apply_runner_arguments,
    build_runner,
    load_config,
    run_tool,
    start_processes,
)
from mmrazor_byot.models.loading import dataset_meta, load_byot


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument(
        '--policy',
        help='policy file of tools/calibrate_exits.py: test early exiting, and time it against '
        'the deepest exit',
    )
    parser.add_argument('--out', help='file for the results')
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        help='what --out holds: metrics (JSON) or predictions (pickle). Defaults to predictions',
    )
    parser.add_argument('--show-dir', help='folder for images with their predictions')
    parser.add_argument('--show', action='store_true', help='show them in a window')
    parser.add_argument('--interval', type=int, default=1, help='show every n-th image')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds to show each image')
    add_runner_arguments(parser)
    return parser.parse_args()


def apply_arguments(cfg: Config, args: argparse.Namespace) -> None:
    apply_runner_arguments(cfg, args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.out_item and not args.out:
        raise ConfigError('--out-item: give the file as --out')
    if args.policy and args.out:
        args.out_item = 'metrics'
    if args.out and args.out_item != 'metrics' and not args.out.endswith(('.pkl', '.pickle')):
        raise ConfigError(
            f'--out {args.out}: predictions are written as .pkl; for metrics add --out-item metrics'
        )
    if args.policy and args.launcher != 'none':
        raise ConfigError('--policy: times are measured in one process; leave --launcher out')
    if args.policy and (args.show or args.show_dir):
        raise ConfigError('--policy: tools/infer.py shows where images leave')
    if args.out:
        check_writable(args.out)
    if args.show_dir:
        check_writable(args.show_dir, is_folder=True)
    if args.show or args.show_dir:
        cfg.default_hooks.visualization = dict(
            type='VisualizationHook',
            enable=True,
            show=args.show,
            wait_time=args.wait_time,
            out_dir=args.show_dir,
            interval=args.interval,
        )


def test_policy(cfg: Config, args: argparse.Namespace) -> dict:
    """Test the network with the exit policy of ``--policy``."""
    content = read_policy(args.policy)
    model, _, meta = load_byot(cfg, args.checkpoint)
    content.check(model.num_exits, model.num_classes)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    loader = Runner.build_dataloader(cfg.test_dataloader)
    check_data(loader, 'test_dataloader', model.num_classes, dataset_meta(meta).get('classes'))
    with torch.autocast(device, enabled=args.amp):
        result = evaluate_policy(model.to(device), loader, content.policy)
    print(format_policy_test(result, content.policy))
    return result


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    apply_arguments(cfg, args)
    if args.policy:
        metrics = test_policy(cfg, args)
    else:
        start_processes(cfg, args)
        runner = build_runner(cfg)
        if args.out and args.out_item != 'metrics':
            runner.test_evaluator.metrics.append(DumpResults(args.out))
        metrics = runner.test()
    if args.out and args.out_item == 'metrics' and is_main_process():
        write_text(args.out, json.dumps(metrics, indent=2))


if __name__ == '__main__':
    run_tool(main)
