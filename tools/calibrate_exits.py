"""Calibrate an exit policy for a target on images held out of training."""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse
from pathlib import Path

import numpy as np
import torch

from mmrazor_byot.calibration import Costs, calibrate_network, calibration_loader
from mmrazor_byot.datasets import check_data
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import check_writable, read_json
from mmrazor_byot.launch import add_config_options, load_config, run_tool
from mmrazor_byot.models.loading import dataset_meta, load_byot

KINDS = dict(confidence='ConfidencePolicy', margin='MarginPolicy', entropy='EntropyPolicy')
ANSWERS = dict(last=[False], ensemble=[True], best=[False, True])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        '--max-drop',
        type=float,
        metavar='POINTS',
        help='lose at most so many percentage points of accuracy against the deepest exit, at the '
        'least cost',
    )
    target.add_argument(
        '--budget',
        type=float,
        metavar='FRACTION',
        help="use at most this fraction of the deepest exit's FLOPs (or time, with --costs)",
    )
    target.add_argument(
        '--latency-ms',
        type=float,
        metavar='MS',
        help='use at most so many ms per image, with batch size 1, in torch on this machine '
        '(on the device, with --costs)',
    )
    parser.add_argument('--out', default='policy.json', help='file for the policy')
    parser.add_argument(
        '--costs',
        metavar='FILE',
        help='use the times that tools/deploy/bench.py --out FILE measured on a device, instead '
        'of FLOPs',
    )
    parser.add_argument(
        '--score',
        nargs='+',
        choices=KINDS,
        default=['confidence'],
        help='what is compared with the thresholds; if more than one is given, the best is used. '
        'Defaults to confidence',
    )
    parser.add_argument(
        '--answer',
        choices=ANSWERS,
        default='best',
        help='predict with the last exit or with the mean of those reached. '
        'Defaults to the better one',
    )
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='where to run. Defaults to the GPU if there is one',
    )
    add_config_options(parser)
    args = parser.parse_args()
    _check(args)
    return args


def _check(args: argparse.Namespace) -> None:
    if args.max_drop is not None and not 0 <= args.max_drop < 100:
        raise ConfigError(f'--max-drop {args.max_drop}: percentage points, from 0')
    if args.budget is not None and not 0 < args.budget <= 1:
        raise ConfigError(f'--budget {args.budget}: a fraction, above 0 and up to 1')
    if args.latency_ms is not None and not 0 < args.latency_ms < float('inf'):
        raise ConfigError(f'--latency-ms {args.latency_ms}: must be positive')


def read_costs(path: str, num_exits: int) -> Costs:
    """Read the times that tools/deploy/bench.py measured for a network of ``num_exits`` exits."""
    try:
        found = read_json(path, f'--costs {path}')['costs']
        cumulative, fixed = (np.array(found[name], float) for name in ('cumulative', 'fixed'))
        costs = Costs(cumulative, fixed, np.zeros(num_exits), str(found['unit']))
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError) as e:
        raise ConfigError(
            f'--costs {path}: not a result of tools/deploy/bench.py --out FILE with all exits '
            f'({type(e).__name__}: {e})'
        ) from e
    try:
        costs.check(num_exits)
    except ConfigError as e:
        raise ConfigError(f'--costs {path}: {e}') from e
    return costs


def main() -> None:
    args = parse_args()
    check_writable(args.out)
    cfg = load_config(args.config, args.cfg_options)
    model, _, meta = load_byot(cfg, args.checkpoint)
    loader = calibration_loader(cfg)
    classes = dataset_meta(meta).get('classes')
    check_data(loader, 'calibration_dataloader', model.num_classes, classes)
    model.to(args.device)
    found = calibrate_network(
        model,
        loader,
        args.max_drop,
        args.budget,
        args.latency_ms,
        read_costs(args.costs, model.num_exits) if args.costs else None,
        kinds=[KINDS[name] for name in args.score],
        ensembles=ANSWERS[args.answer],
    )
    print(found)
    found.file.calibration.update(
        config=Path(args.config).name, checkpoint=Path(args.checkpoint).name
    )
    found.file.save(args.out)
    print(
        f'\npolicy written to {args.out}; '
        f'try it on the test images: python tools/test.py {args.config} '
        f'{args.checkpoint} --policy {args.out}'
    )


if __name__ == '__main__':
    run_tool(main)
