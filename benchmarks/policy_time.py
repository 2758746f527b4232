"""What stopping early saves: a policy against the deepest exit alone.

Runs the public tools one after the other on a trained checkpoint: it is exported, its exits are
timed in ONNX Runtime, a policy is calibrated for these times on held-out training images, exported,
and measured on the test images.

    python benchmarks/policy_time.py CONFIG CHECKPOINT --max-drop 0.5
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from machine import RESULTS, describe_machine, save_result

from mmrazor_byot.command import catch_signals, run_command
from mmrazor_byot.table import format_table

TOOLS = Path(__file__).resolve().parent.parent / 'tools'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--max-drop', default='0.5')
    parser.add_argument('--exits', type=int, default=4, help='exits of the network')
    parser.add_argument('--score', nargs='+', default=['confidence', 'margin', 'entropy'])
    parser.add_argument('--seconds', default='10', help='each variant is timed so long')
    parser.add_argument('--name', default='policy_time_tin32')
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
    all_exits, plain, fp32, int8 = (
        str(folder / f'{name}.onnx') for name in ('all', 'plain', 'policy', 'int8')
    )

    def export(out: str, *options: str) -> None:
        run_tool('deploy/export_onnx.py', *network, '--out', out, *options)

    export(all_exits)
    export(plain, '--exit', str(args.exits))
    seconds = '--seconds', args.seconds
    run_tool('deploy/bench.py', all_exits, plain, '--batch', '1', *seconds, '--out', costs)
    run_tool(
        'calibrate_exits.py',
        *network,
        *('--max-drop', args.max_drop, '--costs', costs, '--out', policy),
        *('--score', *args.score),
    )
    run_tool('test.py', *network, '--policy', policy, '--out', test)
    export(fp32, '--policy', policy)
    export(int8, '--policy', policy, '--int8')
    images = '--config', args.config
    run_tool('deploy/bench.py', fp32, int8, plain, *images, *seconds, '--out', bench)
    if args.figures:
        run_tool(
            'analysis_tools/plot_exits.py', *network, '--policy', policy, '--out', args.figures
        )
    return dict(
        policy=json.loads(Path(policy).read_text()),
        test=json.loads(Path(test).read_text()),
        deployed=json.loads(Path(bench).read_text()),
    )


def summary(found: dict) -> dict:
    """The numbers that matter, each against the deepest exit."""
    test = found['test']
    rows = {(r['file'], r['what'], r['batch']): r for r in found['deployed']['rows']}
    return dict(
        points_lost=test['deepest_top1'] - test['top1'],
        flops_share=test['flops_share'],
        onnxruntime_time_fraction=1 / rows['policy.onnx', 'policy', 1]['ratio'],
        onnxruntime_time_fraction_batch_64=1 / rows['policy.onnx', 'policy', 64]['ratio'],
        int8_time_fraction=1 / rows['int8.onnx', 'policy', 1]['ratio'],
    )


def main() -> None:
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args, Path(folder))
    found = dict(
        command=f'python benchmarks/policy_time.py {args.config} '
        f'{Path(args.checkpoint).name} --max-drop {args.max_drop}',
        machine=describe_machine('cuda' if torch.cuda.is_available() else 'cpu'),
        summary=summary(found),
        **found,
    )
    print(format_table(list(found['summary'].items())))
    print(f'written to {save_result(args.name, found, args.out)}')


if __name__ == '__main__':
    catch_signals()
    run_command(main)
