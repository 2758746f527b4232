"""What one training step costs: plain, deep supervision, BYOT, MMRazor's BYOT.

All methods take their steps in turn, so that a slower minute of the machine
meets all of them; a step is forward, losses, backward and SGD on a batch of
32 x 32 images of 100 classes that lies ready in memory.

    python benchmarks/train_step.py --batch 64 --methods plain byot
"""
import argparse
import statistics
import time

import torch
from machine import RESULTS, describe_machine, save_result
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample
from peers import METHODS, build_method


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument(
        '--methods', nargs='+', choices=METHODS, default=METHODS[:3])
    parser.add_argument('--steps', type=int, default=15)
    parser.add_argument('--warmup', type=int, default=3)
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--name', help='of the result file')
    parser.add_argument('--out', default=RESULTS, help='folder for it')
    return parser.parse_args()


class Trainee:
    """A model with an optimizer and a batch, ready to step."""

    def __init__(self, method: str, batch: int, device: str) -> None:
        torch.manual_seed(0)
        self.model = build_method(method).to(device)
        self.optimizer = OptimWrapper(
            torch.optim.SGD(
                self.model.parameters(),
                lr=0.01,
                momentum=0.9,
                weight_decay=5e-4))
        self.images = torch.randint(0, 256, (batch, 3, 32, 32)).byte()
        self.labels = torch.randint(0, 100, (batch, ))
        self.device = device

    def step(self) -> float:
        """Take one training step; returns seconds."""
        samples = [DataSample().set_gt_label(label) for label in self.labels]
        start = time.perf_counter()
        self.model.train_step(
            dict(inputs=self.images, data_samples=samples), self.optimizer)
        if self.device == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter() - start


def measure(args: argparse.Namespace) -> dict:
    trainees = {
        method: Trainee(method, args.batch, args.device)
        for method in args.methods
    }
    times = {method: [] for method in args.methods}
    for i in range(args.warmup + args.steps):
        for method, trainee in trainees.items():
            seconds = trainee.step()
            if i >= args.warmup:
                times[method].append(seconds)
    base = times.get('plain') or times[args.methods[0]]
    return {
        method: dict(
            median_s=statistics.median(seconds),
            min_s=min(seconds),
            max_s=max(seconds),
            ratio=statistics.median(
                a / b for a, b in zip(seconds, base)))
        for method, seconds in times.items()
    }


def main() -> None:
    args = parse_args()
    rows = measure(args)
    machine = describe_machine(args.device)
    print(f'{machine["gpu"] or machine["processor"]}, {machine["threads"]} '
          f'threads, torch {machine["torch"]}; batch {args.batch}, '
          f'{args.steps} steps in turn')
    print('| method           | median (ms) | min (ms) | times plain |')
    print('|------------------|------------:|---------:|------------:|')
    for method, row in rows.items():
        print(f'| {method:<16} | {row["median_s"] * 1e3:>11.1f} | '
              f'{row["min_s"] * 1e3:>8.1f} | {row["ratio"]:>11.2f} |')
    name = args.name or f'train_step_{args.device}_b{args.batch}'
    path = save_result(
        name,
        dict(machine=machine, batch=args.batch, steps=args.steps, rows=rows),
        args.out)
    print(f'written to {path}')


if __name__ == '__main__':
    main()
