"""What training methods reach: every exit's accuracy over seeds.

All methods see the same images in the same order, for as many epochs at the same learning rates. A
run that is done is kept as a file and not done again; one that was stopped goes on from its last
checkpoint.

    TIN32=FILE.npz python benchmarks/accuracy.py --scale small --jobs 2
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import List, Optional

from accuracy_report import report
from accuracy_run import Run, all_runs
from machine import RESULTS
from methods import METHODS, NEEDS
from mmengine.config import DictAction
from mmengine.logging import MMLogger
from scales import SCALES

from mmrazor_byot.command import catch_signals, run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--scale', choices=SCALES, default='small')
    parser.add_argument(
        '--methods',
        nargs='+',
        choices=METHODS,
        metavar='METHOD',
        default=[m for m in METHODS if m not in ('mmrazor', 'teacher')],
        help=f'of {", ".join(METHODS)}; by default those that the tables '
        'compare; mmrazor, its own classes, only if it is named: '
        'mmrazor-equal computes the same, much faster',
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument(
        '--held-out',
        action='store_true',
        help='train without a part of the training images and test on it, to choose settings',
    )
    parser.add_argument(
        '--unused',
        action='store_true',
        help='test what has been trained on the training images that were '
        'not used, which a scale on a part of them leaves',
    )
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time, which share the cores')
    parser.add_argument(
        '--work-dir', default='work_dirs/accuracy', help='folder for logs and checkpoints'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='change the recipe that all methods start from',
    )
    parser.add_argument(
        '--variant',
        metavar='NAME',
        help='of those changes: after the names of the methods, so that their results are kept '
        'beside those of the recipe as it is',
    )
    parser.add_argument('--name', help='of the results; default by scale')
    parser.add_argument('--out', default=RESULTS, help='folder for them')
    args = parser.parse_args()
    args.trained = args.name or f'accuracy_{args.scale}' + ('_held_out' if args.held_out else '')
    args.name = args.trained + ('_unused' if args.unused else '')
    if args.jobs < 1:
        parser.error(f'--jobs {args.jobs}: at least 1')
    if args.unused and args.held_out:
        parser.error('--unused: with --held-out the test is on unused images')
    if args.variant and not args.cfg_options:
        parser.error(f'--variant {args.variant}: give --cfg-options')
    return args


def next_run(waiting: List[Run], active: List[Run]) -> Optional[Run]:
    """The first that waits for no teacher which is still trained."""
    training = {run.method for run in active}
    return next((run for run in waiting if NEEDS.get(run.method) not in training), None)


def train_all(args: argparse.Namespace) -> List[str]:
    """Train what is not done; returns the names of runs that failed."""
    waiting = [run for run in all_runs(args) if not run.is_done()]
    if not waiting:
        return []
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    begin, count = time.time(), len(waiting)
    active, failed = [], []
    try:
        while waiting or active:
            while len(active) < args.jobs and (
                run := next_run(waiting, [run for run, _, _ in active])
            ):
                waiting.remove(run)
                active.append((run, run.start(threads), time.time()))
            time.sleep(1)
            for task in [t for t in active if t[1].poll() is not None]:
                run, process, start = task
                active.remove(task)
                if process.returncode or not run.finish(time.time() - start):
                    failed.append(run.name)
                    print(f'{run.name} failed, see {run.folder}/output.log')
                done = count - len(waiting) - len(active)
                left = (time.time() - begin) / done * (count - done) / 60
                print(f'{done} of {count} runs done, about {left:.0f} min left', flush=True)
    finally:  # when stopped, it ends its runs too, so that a new start meets none
        for _, process, _ in active:
            process.terminate()
        for _, process, _ in active:
            process.wait()
    return failed


def main() -> None:
    args = parse_args()
    # Each config read would say where it found the images.
    MMLogger.get_instance('mmengine').setLevel('WARNING')
    failed = train_all(args)
    report(Path(args.out), args.name, [Run(m, 0, args).label for m in args.methods])
    if failed:
        sys.exit(f'error: {len(failed)} runs failed: {", ".join(failed)}')


if __name__ == '__main__':
    catch_signals('start it again to go on from the last checkpoints')
    run_command(main)
