"""Peak memory of training steps; on a CPU, each measured in a process of its own."""

import gc
import multiprocessing
import os
from unittest import mock

import torch
from trainee import Setting, Trainee

import mmrazor_byot.models  # noqa: F401  code is not what is measured

STEPS = 3
#: glibc would keep freed memory for later, a different amount in each run; blocks of this many
#: bytes and more go back at once.
RETURN_BLOCKS = dict(MALLOC_MMAP_THRESHOLD_='65536')


def peak_memory(setting: Setting) -> int:
    """What a network, its optimizer and its steps need at most.

    On a GPU what torch allocates there; on a CPU by how much the resident memory of a new process
    grows from before the network is built.

    Args:
        setting: Of the steps.

    Returns:
        int: Bytes.
    """
    if setting.device == 'cuda':
        gc.collect()  # the network measured before
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        _take_steps(setting)
        return torch.cuda.max_memory_allocated() - before
    with mock.patch.dict(os.environ, RETURN_BLOCKS):
        pool = multiprocessing.get_context('spawn').Pool(1)
    with pool:
        return pool.apply(_measure, (setting,))


def _measure(setting: Setting) -> int:
    before = _resident('VmRSS')
    _take_steps(setting)
    return _resident('VmHWM') - before


def _take_steps(setting: Setting) -> None:
    trainee = Trainee(setting)
    for _ in range(STEPS):
        trainee.step()


def _resident(what: str) -> int:
    """Resident memory of this process, now or at most, in bytes."""
    with open('/proc/self/status') as f:
        for line in f:
            if line.startswith(what):
                return int(line.split()[1]) * 1024
    raise OSError(f'/proc/self/status has no {what}')
