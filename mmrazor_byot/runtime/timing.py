"""How long an exported network takes."""

import os
import platform
import time
from typing import Callable, Dict, Hashable, List, Sequence

import numpy as np

from .model import import_onnxruntime

#: Seconds of a turn.
TURN = 0.1


def interleaved(
    calls: Dict[Hashable, Callable[[], object]], seconds: float, at_least: int = 5
) -> Dict[Hashable, List[float]]:
    """Time calls in turn, so that what slows the machine slows them all.

    A turn is as many calls as fit into a tenth of a second, the first of them not timed: on a
    device one network runs again and again, and finds its weights in the processor's cache.

    Args:
        calls (dict): Name to what is timed. Each is called twice before anything is timed.
        seconds (float): How long each is timed, about.
        at_least (int): Times each is timed, however long it takes. Defaults to 5.

    Returns:
        dict: Name to seconds of each call.
    """
    for call in calls.values():
        call()
        call()
    times: Dict[Hashable, List[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end or min(map(len, times.values())) < at_least:
        for name, call in calls.items():
            call()
            now = time.perf_counter()
            turn = now + TURN
            while True:
                begin = now
                call()
                now = time.perf_counter()
                times[name].append(now - begin)
                if now >= turn:
                    break
    return times


def summary(times: Sequence[float], batch: int) -> Dict[str, float]:
    """What is reported of the times of a call.

    Args:
        times (Sequence[float]): Seconds of each call.
        batch (int): Images of a call.

    Returns:
        dict: ``median_ms`` and ``p95_ms`` of a call, ``images_per_s`` of all of them, and
        ``calls``.
    """
    median, p95 = np.percentile(times, [50, 95])
    return dict(
        median_ms=float(median) * 1e3,
        p95_ms=float(p95) * 1e3,
        images_per_s=batch / float(np.mean(times)),
        calls=len(times),
    )


def describe_machine() -> dict:
    """Processor, how busy it is, and versions."""
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
    """Name of the processor, as the system knows it."""
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo', encoding='utf-8') as f:
            names = [s.split(':')[1].strip() for s in f if 'model name' in s]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
