"""What the stages of an exported network cost on this device. No torch here.

Timed is what a policy really does, one image at a time: the models, and the
decision at every exit that it reads.
"""

from functools import partial
from typing import Dict, List, Sequence

import numpy as np

from mmrazor_byot.policies import ExitPolicy, FixedExitPolicy, MarginPolicy

from .deployed_network import DeployedNetwork
from .timing import interleaved

#: Makes any answer unsure, so that only a threshold of 0 lets images leave.
FLAT = 1e5


def stage_costs(network: DeployedNetwork, image: np.ndarray, seconds: float) -> dict:
    """Time going on to every exit, reading it, and stopping there at once.

    Args:
        network (DeployedNetwork): The network.
        image (np.ndarray): One image, (1, H, W, 3) uint8.
        seconds (float): How long each of the 3 C ways is timed.

    Returns:
        dict: ``sections``, ``heads`` and ``fixed``, C numbers each, and
        ``unit``, ``'ms'``: what tools/calibrate_exits.py reckons with.
    """
    count = network.num_exits
    calls = {}
    for number in range(1, count + 1):
        ways = dict(
            fixed=FixedExitPolicy(number),
            alone=_leaving(number, count, read=False),
            all=_leaving(number, count, read=True),
        )
        for name, policy in ways.items():
            calls[name, number] = partial(network.run, image, policy)
    times = {
        way: 1e3 * float(np.median(spent)) for way, spent in interleaved(calls, seconds).items()
    }
    by_way = {
        name: [times[name, i + 1] for i in range(count)] for name in ('fixed', 'alone', 'all')
    }
    return dict(**split_costs(by_way['alone'], by_way['all']), fixed=by_way['fixed'], unit='ms')


def split_costs(alone: Sequence[float], everything: Sequence[float]) -> Dict[str, List[float]]:
    """Tell sections from heads.

    Args:
        alone (Sequence[float]): Cost of leaving at exit 1 to C, no exit
            before it being read.
        everything (Sequence[float]): The same, all exits being read.

    Returns:
        dict: ``sections`` and ``heads``, C numbers each. Leaving at exit i
        costs ``sum(sections[:i])`` and the heads that were read; the deepest
        exit's head counts with its section.
    """
    before = np.maximum.accumulate(np.subtract(everything, alone))
    before = np.maximum(before, 0)  # heads before each exit
    heads = np.append(np.diff(before), 0.0)
    sections = np.diff(np.subtract(alone, heads), prepend=0.0)
    return dict(sections=sections.tolist(), heads=heads.tolist())


def _leaving(number: int, count: int, read: bool) -> ExitPolicy:
    """A policy by which every image leaves at one exit."""
    shallow = [1.0 if read else None] * (number - 1)
    deeper = [None] * (count - 1 - number)
    here = [0.0] if number < count else []
    return MarginPolicy([*shallow, *here, *deeper][: count - 1], temperatures=[FLAT] * count)
