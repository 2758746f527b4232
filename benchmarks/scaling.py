"""How time and memory of a training step grow.

Against batch size, number of exits, depth of the network and number of processes; everything else
as in the first row.

    python benchmarks/scaling.py
"""

import argparse
import os
import socket
import statistics

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from machine import add_common_arguments, describe_machine, save_result
from memory import peak_memory
from mmengine.model import MMDistributedDataParallel
from trainee import Setting, Trainee

from mmrazor_byot.launch import leave_processes
from mmrazor_byot.table import format_table

COLUMNS = ('step (ms)', 'times the first', 'images/s', 'memory (MB)', 'times the first')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--batch', type=int, default=32, help='first row')
    parser.add_argument('--batches', nargs='+', type=int, default=[8, 16, 64, 128])
    parser.add_argument('--exits', nargs='+', type=int, default=[1, 2, 3])
    parser.add_argument('--depths', nargs='+', type=int, default=[34, 50])
    parser.add_argument('--processes', nargs='+', type=int, default=[1, 2])
    parser.add_argument('--steps', type=int, default=5)
    add_common_arguments(parser)
    return parser.parse_args()


def rows_to_measure(args: argparse.Namespace) -> dict:
    """Settings and numbers of processes, by what is said of them."""
    first = Setting(batch=args.batch, device=args.device)
    rows = {f'ResNet-18, 4 exits, batch {args.batch}': (first, None)}
    for batch in args.batches:
        rows[f'batch {batch}'] = first.but(batch=batch), None
    for exits in args.exits:
        rows[f'{exits} exit{"s"[: exits > 1]}'] = first.but(exits=exits), None
    for depth in args.depths:
        rows[f'ResNet-{depth}'] = first.but(depth=depth), None
    for count in args.processes:
        name = f'{count} process{"es"[: 2 * (count > 1)]} of one thread'
        rows[name] = first, count
    return rows


def time_alone(setting: Setting, steps: int) -> float:
    """Median seconds of a step."""
    trainee = Trainee(setting)
    return statistics.median([trainee.step() for _ in range(steps + 2)][2:])


def time_together(setting: Setting, steps: int, processes: int) -> float:
    """Median seconds of a step that several processes take together.

    Each has a batch of its own, one thread or GPU, and averages gradients with the others.
    """
    with socket.socket() as s:
        s.bind(('localhost', 0))
        os.environ.update(MASTER_ADDR='localhost', MASTER_PORT=str(s.getsockname()[1]))
    times = mp.get_context('spawn').SimpleQueue()
    mp.spawn(_rank, (setting, steps, processes, times), processes)
    return times.get()


def _rank(rank: int, setting: Setting, steps: int, processes: int, times) -> None:
    torch.set_num_threads(1)
    cuda = setting.device == 'cuda'
    if cuda:
        torch.cuda.set_device(rank)
    dist.init_process_group('nccl' if cuda else 'gloo', rank=rank, world_size=processes)
    trainee = Trainee(setting)
    trainee.model = MMDistributedDataParallel(trainee.model, device_ids=[rank] if cuda else None)
    seconds = [trainee.step() for _ in range(steps + 2)][2:]
    if rank == 0:
        times.put(statistics.median(seconds))
    leave_processes()


def measure(args: argparse.Namespace) -> dict:
    """One row for each setting."""
    rows = {}
    for name, (setting, processes) in rows_to_measure(args).items():
        if processes is None:
            seconds = time_alone(setting, args.steps)
        else:
            seconds = time_together(setting, args.steps, processes)
        images = setting.batch * (processes or 1)
        rows[name] = dict(
            step_s=seconds,
            images_per_s=images / seconds,
            processes=processes or 1,
            peak_memory_bytes=None if processes else peak_memory(setting),
            setting=vars(setting),
        )
        print(f'{name}: {seconds * 1e3:.0f} ms', flush=True)
    return rows


def show(rows: dict) -> None:
    """Print the rows as a table, with their ratios to the first."""
    first = next(iter(rows.values()))
    lines = [['', *COLUMNS]]
    for name, row in rows.items():
        memory = row['peak_memory_bytes']
        lines.append(
            [
                name,
                f'{row["step_s"] * 1e3:.0f}',
                f'{row["step_s"] / first["step_s"]:.2f}',
                f'{row["images_per_s"]:.0f}',
                f'{memory / 1e6:.0f}' if memory else '-',
                f'{memory / first["peak_memory_bytes"]:.2f}' if memory else '-',
            ]
        )
    print(format_table(lines, markdown=True))


def main() -> None:
    args = parse_args()
    rows = measure(args)
    show(rows)
    path = save_result(
        args.name or f'scaling_{args.device}',
        dict(machine=describe_machine(args.device), steps=args.steps, rows=rows),
        args.out,
    )
    print(f'written to {path}')


if __name__ == '__main__':
    main()
