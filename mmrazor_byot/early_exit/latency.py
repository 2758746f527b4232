"""How long the stages of a network take on this machine."""

import time
from typing import Callable, Dict, List

import numpy as np
import torch
from torch import Tensor

from .staged_network import StagedNetwork


def clock(device: torch.device, function: Callable, *arguments) -> float:
    """Milliseconds of one call, the device's work included."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    function(*arguments)
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - start)


@torch.no_grad()
def stage_times(network: StagedNetwork, images: Tensor, rounds: int = 50) -> Dict[str, List[float]]:
    """Time every section and every exit head.

    Args:
        network (StagedNetwork): The network.
        images (Tensor): Preprocessed images, (N, 3, H, W); one, for the latency of one.
        rounds (int): Each is run so often, in turn with the others. Defaults to 50.

    Returns:
        dict: ``sections`` and ``heads``, C medians each, in ms. The head of the deepest exit counts
        with its section.
    """
    count = network.num_exits
    states = [(images,)]
    for number in range(1, count):
        states.append(network.stage(number, states[-1], read=False)[0])
    times = np.zeros((rounds + 3, count, 2))
    for row in times:
        for i, state in enumerate(states):
            for read in (False, True):
                row[i, int(read)] = clock(images.device, network.stage, i + 1, state, read)
    without, with_head = np.median(times[3:], axis=0).T  # three to warm up
    heads = np.maximum(with_head - without, 0)
    heads[-1] = 0
    return dict(sections=without.tolist(), heads=heads.tolist())
