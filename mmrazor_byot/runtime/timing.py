"""Timing of calls, and the machine they run on."""

import os
import platform
import sys
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, TypeVar

import numpy as np

from .model import import_onnxruntime

#: Seconds each call is timed before it is the turn of the next.
TURN = 0.1

Name = TypeVar('Name')


def interleaved(
    calls: Mapping[Name, Callable[[], object]], seconds: float, at_least: int = 5
) -> Dict[Name, List[float]]:
    """Time calls in turn, so that other load on the machine slows them all alike.

    A turn is as many calls as fit into :data:`TURN` seconds. The first is not timed: on a device
    the network runs repeatedly, with its weights in the processor's cache. On a terminal, the
    progress is shown on stderr.

    Args:
        calls (dict): Name to function. Each is called twice as a warm-up.
        seconds (float): Approximate time spent on each.
        at_least (int): Minimum number of timed calls of each. Defaults to 5.

    Returns:
        dict: Name to the seconds of each call.
    """
    _show_progress(0)
    for call in calls.values():
        call()
        call()
    times: Dict[Name, List[float]] = {name: [] for name in calls}
    budget = seconds * len(calls)
    begin = time.perf_counter()
    done = 0.0
    while done < 1:
        for name, call in calls.items():
            call()
            now = time.perf_counter()
            turn = now + TURN
            while True:
                start = now
                call()
                now = time.perf_counter()
                times[name].append(now - start)
                if now >= turn:
                    break
            counted = sum(min(len(t), at_least) for t in times.values()) / (at_least * len(calls))
            done = min(counted, (now - begin) / budget if budget else 1)
            _show_progress(done)
    _show_progress(None)
    return times


def _show_progress(done: Optional[float]) -> None:
    """Show the fraction done on a terminal; None clears the line."""
    if sys.stderr.isatty():
        text = '' if done is None else f'Timing {min(done, 1):.0%}'
        print(f'\x1b[2K\r{text}', end='', file=sys.stderr, flush=True)


def summary(times: Sequence[float], batch: int) -> Dict[str, float]:
    """Statistics of the times of a call.

    Args:
        times (Sequence[float]): Seconds of each call.
        batch (int): Images per call.

    Returns:
        dict: ``median_ms``, ``p95_ms``, ``images_per_s`` from the mean time, and ``calls``, their
        number.
    """
    median, p95 = np.percentile(times, [50, 95])
    return dict(
        median_ms=float(median) * 1e3,
        p95_ms=float(p95) * 1e3,
        images_per_s=batch / float(np.mean(times)),
        calls=len(times),
    )


def describe_machine() -> Dict[str, Any]:
    """Processor, its load, and versions."""
    return dict(
        processor=processor_name(),
        cores=os.cpu_count(),
        load_average=os.getloadavg()[0] if hasattr(os, 'getloadavg') else None,
        system=platform.system(),
        python=platform.python_version(),
        numpy=np.__version__,
        onnxruntime=import_onnxruntime().__version__,
    )


def processor_name() -> str:
    """Name of the processor as the operating system reports it."""
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo', encoding='utf-8') as f:
            names = [s.split(':')[1].strip() for s in f if 'model name' in s]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
