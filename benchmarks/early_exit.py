"""What stopping early saves: a policy against the deepest exit alone.

Runs the public tools one after the other on a trained checkpoint: it is
exported, its stages are timed in ONNX Runtime, a policy is calibrated for
these times on held-out training images, and measured on the test images.

    python benchmarks/early_exit.py CONFIG CHECKPOINT --max-drop 0.5
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from machine import RESULTS, describe_machine, save_result

TOOLS = Path(__file__).resolve().parent.parent / 'tools'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--max-drop', default='0.5')
    parser.add_argument('--score', nargs='+', default=['confidence', 'margin', 'entropy'])
    parser.add_argument('--seconds', default='10', help='each variant is timed so long')
    parser.add_argument('--name', default='early_exit_tin32')
    parser.add_argument('--out', default=RESULTS, help='folder for the result')
    parser.add_argument('--figures', help='folder for the figures; none without it')
    return parser.parse_args()


def run_tool(name: str, *arguments: str) -> None:
    """Run a tool and show what it prints; stop here if it fails."""
    subprocess.run([sys.executable, str(TOOLS / name), *arguments], check=True)


def measure(args: argparse.Namespace, folder: Path) -> dict:
    """All that the tools find, as they wrote it."""
    network = args.config, args.checkpoint
    costs, policy, test, bench = (
        str(folder / f'{name}.json') for name in ('costs', 'policy', 'test', 'bench')
    )
    deployed = str(folder / 'deployed')
    run_tool('deploy/export_onnx.py', *network, '--int8', '--out', deployed)
    run_tool('deploy/bench.py', deployed, '--batch', '1', '--seconds', args.seconds, '--out', costs)
    run_tool(
        'calibrate_exits.py',
        *network,
        '--max-drop',
        args.max_drop,
        '--costs',
        costs,
        '--score',
        *args.score,
        '--out',
        policy,
    )
    run_tool('test.py', *network, '--policy', policy, '--out', test)
    run_tool(
        'deploy/bench.py',
        deployed,
        '--config',
        args.config,
        '--policy',
        policy,
        '--seconds',
        args.seconds,
        '--out',
        bench,
    )
    if args.figures:
        run_tool(
            'analysis_tools/plot_exits.py', *network, '--policy', policy, '--out', args.figures
        )
    manifest = json.loads(Path(deployed, 'manifest.json').read_text())
    return dict(
        policy=json.loads(Path(policy).read_text()),
        test=json.loads(Path(test).read_text()),
        exported=dict(exits=manifest['exits'], **manifest['results']),
        deployed=json.loads(Path(bench).read_text()),
    )


def summary(found: dict) -> dict:
    """The numbers that matter, each against the deepest exit."""
    test = found['test']
    count = found['policy']['num_exits']
    rows = {
        (r['precision'], r['what'], r['threads'], r['batch']): r for r in found['deployed']['rows']
    }
    single = rows['fp32', 'policy', 1, 1]
    first = rows['fp32', f'1/{count}', 1, 1]
    return dict(
        points_lost=test['deepest_top1'] - test['top1'],
        flops_share=test['flops_share'],
        onnxruntime_time_share=1 / single['throughput_ratio'],
        first_exit_times_as_fast=first['median_ratio'],
    )


def main() -> None:
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args, Path(folder))
    found = dict(
        command=f'python benchmarks/early_exit.py {args.config} '
        f'{Path(args.checkpoint).name} --max-drop {args.max_drop}',
        machine=describe_machine('cuda' if torch.cuda.is_available() else 'cpu'),
        summary=summary(found),
        **found,
    )
    for name, value in found['summary'].items():
        print(f'{name:<26}{value:.3f}')
    print(f'written to {save_result(args.name, found, args.out)}')


if __name__ == '__main__':
    main()
