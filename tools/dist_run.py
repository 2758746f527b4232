"""Run a tool in one process per GPU, or in more than one on the CPU.

Called by dist_train.sh and dist_test.sh, which name the variables for several machines. An error of
the processes is printed once.

usage: dist_run.py TOOL PROCESSES [ARGUMENT ...]
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import List, Optional

HERE = Path(__file__).resolve().parent
#: See mmrazor_byot.command.
REPORT_FD = 'MMRAZOR_BYOT_REPORT_FD'
#: Seconds to end in after a SIGTERM, for example to write a checkpoint.
GRACE_S = 30
PR_SET_PDEATHSIG = 1

#: The signal that ends this run, if one has come.
interrupt: Optional[signal.Signals] = None


def end_with_launcher() -> None:
    """Get SIGTERM when the launcher is killed."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start(tool: str, count: int, arguments: List[str], report: int) -> List[subprocess.Popen]:
    """Start the processes, with the variables that torch.distributed reads."""
    nodes, node = (int(os.environ.get(k, v)) for k, v in (('NNODES', '1'), ('NODE_RANK', '0')))
    # The cores are divided between the processes.
    threads = os.environ.get('OMP_NUM_THREADS') or str(max(1, (os.cpu_count() or 1) // count))
    shared = dict(
        PYTHONPATH=os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get('PYTHONPATH')])),
        OMP_NUM_THREADS=threads,
        MKL_NUM_THREADS=os.environ.get('MKL_NUM_THREADS', threads),
        MASTER_ADDR=os.environ.get('MASTER_ADDR', '127.0.0.1'),
        MASTER_PORT=os.environ.get('PORT', '29500'),
        WORLD_SIZE=str(nodes * count),
        LOCAL_WORLD_SIZE=str(count),
        **{REPORT_FD: str(report)},
    )
    command = [sys.executable, str(HERE / tool), '--launcher', 'pytorch', *arguments]
    return [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, 'RANK': str(node * count + i), 'LOCAL_RANK': str(i)},
            pass_fds=[report],
            preexec_fn=end_with_launcher,
        )
        for i in range(count)
    ]


def wait(ranks: List[subprocess.Popen]) -> Optional[subprocess.Popen]:
    """Wait until all are done, one has failed, or a signal has come; returns who failed."""
    while None in [rank.poll() for rank in ranks] and not interrupt:
        failed = [rank for rank in ranks if rank.returncode]
        if failed:  # a killed process makes the others fail
            return min(failed, key=lambda rank: rank.returncode)
        time.sleep(0.05)
    return next((rank for rank in ranks if rank.returncode), None)


def end(ranks: List[subprocess.Popen]) -> None:
    """End those that still run."""
    deadline = time.monotonic() + GRACE_S
    for rank in ranks:
        rank.terminate()
    while None in [rank.poll() for rank in ranks]:
        if time.monotonic() > deadline:
            for rank in ranks:
                rank.kill()
        time.sleep(0.05)


def first_line(reports: int) -> str:
    """The first error that a process has reported; empty if there is none."""
    os.set_blocking(reports, False)
    try:
        return os.read(reports, 1 << 16).decode().partition('\n')[0]
    except BlockingIOError:
        return ''


def main() -> int:
    tool, processes, *arguments = sys.argv[1:]
    count = int(processes) if processes.isdecimal() else 0
    if count < 1:
        print(f'error: "{processes}" processes: give a number from 1, one per GPU', file=sys.stderr)
        return 2

    def handle(number: int, frame: object) -> None:
        global interrupt
        interrupt = signal.Signals(number)

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    reports, report = os.pipe()
    ranks = start(tool, count, arguments, report)
    failed = wait(ranks)
    line = '' if interrupt else first_line(reports)  # later ones are of those that it ends
    end(ranks)
    again = '; add --resume to go on from the last checkpoint' * (tool == 'train.py')
    if interrupt:
        status = 128 + interrupt
        line = first_line(reports) or f'interrupted by {interrupt.name}{again}'
    elif not failed:
        return 0
    else:
        status = max(failed.returncode, 1)
        if failed.returncode < 0:
            name = signal.Signals(-failed.returncode).name
            line = f'rank {ranks.index(failed)} was ended by {name}{again}'
    if line:
        print(f'error: {line}', file=sys.stderr)
    return status


if __name__ == '__main__':
    sys.exit(main())
