"""What one training step costs: plain, deep supervision, BYOT, MMRazor's BYOT.

All methods take their steps in turn, so that a slower minute of the machine meets all of them; a
step is forward, losses, backward and SGD on a batch of 32 x 32 images of 100 classes in memory.

    python benchmarks/train_step.py --batch 64 --methods plain byot
"""

import argparse
import statistics

from arithmetic import matmul_rate, step_macs
from machine import add_common_arguments, describe_machine, save_result
from memory import peak_memory
from peers import METHODS
from trainee import DTYPES, Setting, Trainee

from mmrazor_byot.table import format_table

COLUMNS = (
    'median (ms)',
    'min (ms)',
    'times plain',
    'memory (MB)',
    'memory, times plain',
    'GMAC',
    'of the matmul rate',
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=METHODS[:3])
    parser.add_argument('--amp', choices=DTYPES, help='mixed precision; fp32 without it')
    parser.add_argument('--layout', choices=('contiguous', 'channels_last'), default='contiguous')
    parser.add_argument('--compile', action='store_true', help='with torch.compile')
    parser.add_argument('--fused', action='store_true', help='fused SGD')
    parser.add_argument('--steps', type=int, default=15)
    parser.add_argument('--warmup', type=int, default=3)
    add_common_arguments(parser)
    return parser.parse_args()


def settings(args: argparse.Namespace) -> dict:
    """A setting for each method; MMRazor's is run as it is."""
    ours = Setting(
        batch=args.batch,
        device=args.device,
        amp=args.amp,
        layout=args.layout,
        compile=args.compile,
        fused=args.fused,
    )
    return {
        method: Setting('mmrazor', args.batch, args.device)
        if method == 'mmrazor'
        else ours.but(method=method)
        for method in args.methods
    }


def take_turns(trainees: dict, warmup: int, steps: int) -> dict:
    """Seconds of each step, one of each trainee after the other.

    Args:
        trainees: By name.
        warmup: Steps that do not count.
        steps: Steps that do.
    """
    times = {name: [] for name in trainees}
    for i in range(warmup + steps):
        for name, trainee in trainees.items():
            seconds = trainee.step()
            if i >= warmup:
                times[name].append(seconds)
    return times


def measure(args: argparse.Namespace) -> dict:
    """One row for each method."""
    todo = settings(args)
    memory = {name: peak_memory(setting) for name, setting in todo.items()}
    trainees = {name: Trainee(setting) for name, setting in todo.items()}
    # Counted without torch.compile, which would be counted as nothing.
    flops = {name: step_macs(Trainee(setting.but(compile=False))) for name, setting in todo.items()}
    times = take_turns(trainees, args.warmup, args.steps)
    rates = {setting.dtype: matmul_rate(args.device, setting.dtype) for setting in todo.values()}
    base = 'plain' if 'plain' in todo else args.methods[0]
    rows = {}
    for name, setting in todo.items():
        median = statistics.median(times[name])
        rows[name] = dict(
            median_s=median,
            min_s=min(times[name]),
            max_s=max(times[name]),
            ratio=statistics.median(a / b for a, b in zip(times[name], times[base])),
            peak_memory_bytes=memory[name],
            memory_ratio=memory[name] / memory[base],
            flops=flops[name],
            matmul_rate=rates[setting.dtype],
            fraction_of_matmul_rate=flops[name] / median / rates[setting.dtype],
            setting=vars(setting),
        )
    return rows


def show(rows: dict) -> None:
    """Print the rows as a table."""
    lines = [['method', *COLUMNS]]
    for name, row in rows.items():
        megabytes = row['peak_memory_bytes'] / 1e6
        cells = (
            f'{row["median_s"] * 1e3:.1f}',
            f'{row["min_s"] * 1e3:.1f}',
            f'{row["ratio"]:.2f}',
            f'{megabytes:.0f}',
            f'{row["memory_ratio"]:.2f}',
            f'{row["flops"] / 1e9:.1f}',
            f'{row["fraction_of_matmul_rate"]:.2f}',
        )
        lines.append([name, *cells])
    print(format_table(lines, markdown=True))


def main() -> None:
    args = parse_args()
    rows = measure(args)
    machine = describe_machine(args.device)
    print(
        f'{machine["gpu"] or machine["processor"]}, {machine["threads"]} threads, torch '
        f'{machine["torch"]}; batch {args.batch}, {args.steps} steps in turn'
    )
    show(rows)
    name = args.name or f'train_step_{args.device}_b{args.batch}'
    path = save_result(
        name, dict(machine=machine, batch=args.batch, steps=args.steps, rows=rows), args.out
    )
    print(f'written to {path}')


if __name__ == '__main__':
    main()
