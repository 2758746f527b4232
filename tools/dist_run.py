"""Run a tool with torchrun, in one process per GPU, or in more than one on the CPU.

Called by dist_train.sh and dist_test.sh. An error is printed as one line instead of torchrun's
report of every rank, in which the reason is hard to find.

usage: dist_run.py TOOL PROCESSES [ARGUMENT ...]
"""

import logging
import os
import signal
import sys
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

HERE = Path(__file__).resolve().parent
#: Exit status of a tool that has reported its error, see mmrazor_byot.launch.
REPORTED = 3


def checked_count(processes: str) -> int:
    """The number of processes, if this machine has enough GPUs."""
    count = int(processes) if processes.isdecimal() else 0
    if count < 1:
        fail(f'"{processes}" processes: give a number from 1, one per GPU')
    gpus = torch.cuda.device_count()
    if gpus and count > gpus:
        fail(
            f'{count} processes were asked for, but this machine has {gpus} GPUs: start {gpus}, or '
            'set CUDA_VISIBLE_DEVICES=-1 to run on the CPU'
        )
    return count


def divide_cores(count: int) -> None:
    """Divide the cores between the processes; torchrun gives each one thread."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    os.environ.setdefault('OMP_NUM_THREADS', threads)
    os.environ.setdefault('MKL_NUM_THREADS', os.environ['OMP_NUM_THREADS'])


def fail(message: str, status: int = 2) -> None:
    print(f'error: {message}', file=sys.stderr)
    sys.exit(status)


def main() -> None:
    tool, processes, *arguments = sys.argv[1:]
    count = checked_count(processes)
    divide_cores(count)
    path = [str(HERE.parent), os.environ.get('PYTHONPATH', '')]
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, path))
    variable = os.environ.get
    port = variable('PORT', '29500')
    logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
    try:
        torchrun(
            [
                f'--nnodes={variable("NNODES", "1")}',
                f'--node-rank={variable("NODE_RANK", "0")}',
                f'--master-addr={variable("MASTER_ADDR", "127.0.0.1")}',
                f'--master-port={port}',
                f'--nproc-per-node={count}',
                str(HERE / tool),
                '--launcher',
                'pytorch',
                *arguments,
            ]
        )
    except ChildFailedError as e:
        rank, failure = e.get_first_failure()
        if failure.exitcode == REPORTED:
            sys.exit(1)
        how = f'exit status {failure.exitcode}'
        if failure.exitcode < 0:
            how = signal.Signals(-failure.exitcode).name
        fail(f'rank {rank} ended with {how}; see its last output above', status=1)
    except RuntimeError as e:
        if 'EADDRINUSE' not in str(e) and 'in use' not in str(e):
            raise
        fail(
            f'port {port} is in use, perhaps by another run: choose another, for example '
            'PORT=29501 sh tools/dist_train.sh ...'
        )


if __name__ == '__main__':
    main()
