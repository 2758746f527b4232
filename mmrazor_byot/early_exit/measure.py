"""A policy on a test set: accuracy, cost, and time that was measured."""

from functools import partial
from typing import Callable, Dict, Hashable, List, Sequence

import numpy as np
import torch
from mmengine.model import BaseModel
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from mmrazor_byot.evaluation.collect import network_inputs
from mmrazor_byot.evaluation.complexity import stage_flops
from mmrazor_byot.runtime.timing import interleaved
from mmrazor_byot.table import format_table

from .base import ExitPolicy
from .policies import FixedExitPolicy
from .run import EarlyExit, run_policy
from .staged_network import StagedNetwork

#: How many images are timed at each batch size.
TIMED = {1: 100, 64: 320}


@torch.no_grad()
def evaluate_policy(model: BaseModel, loader: DataLoader, policy: ExitPolicy) -> dict:
    """Run a policy over labelled images, stopping for real.

    Args:
        model (BaseModel): BYOT, on the device where it is to run.
        loader (DataLoader): The images.
        policy (ExitPolicy): Decides which images stop at which exit.

    Returns:
        dict: ``images``; in percent ``top1`` of the policy and ``deepest_top1``; ``flops`` of an
        image on average and ``flops_share``, as a fraction of the deepest exit's; ``exit_shares``
        (C), the fraction of images that stop at each exit; ``exit_top1`` (C), their accuracy, None
        if there are none; ``time``, see :func:`compare_times`.
    """
    network = StagedNetwork(model)
    right, best, exits, flops, kept = [], [], [], [], []
    costs = stage_flops(model, model.input_size)
    for batch in track(loader, description='Images', transient=True):
        images, labels = network_inputs(model, batch)
        outcome = run_policy(network, images, policy)
        right.append(outcome.scores.argmax(-1).cpu().numpy() == labels)
        exits.append(outcome.exits.numpy())
        flops.append(policy_flops(costs, outcome))
        answers = run_policy(network, images, FixedExitPolicy()).scores
        best.append(answers.argmax(-1).cpu().numpy() == labels)
        if sum(map(len, kept)) < max(TIMED.values()):
            kept.append(images)
    right, exits = np.concatenate(right), np.concatenate(exits)
    stopped = [exits == number for number in range(1, network.num_exits + 1)]
    mean_flops = float(np.concatenate(flops).mean())
    return dict(
        images=len(right),
        top1=100 * float(right.mean()),
        deepest_top1=100 * float(np.concatenate(best).mean()),
        flops=mean_flops,
        flops_share=mean_flops / sum(costs['sections']),
        exit_shares=[float(here.mean()) for here in stopped],
        exit_top1=[100 * float(right[here].mean()) if here.any() else None for here in stopped],
        time=compare_times(network, torch.cat(kept), policy),
    )


def policy_flops(costs: Dict[str, Sequence[float]], outcome: EarlyExit) -> np.ndarray:
    """FLOPs of each image, from the exit at which it stopped and the heads that were run.

    Args:
        costs (dict): See :func:`stage_flops`.
        outcome (EarlyExit): Of N images.

    Returns:
        np.ndarray: (N,).
    """
    read = ~outcome.exit_scores[..., 0].isnan().cpu().numpy()
    sections = np.cumsum(costs['sections'])[outcome.exits.numpy() - 1]
    return sections + read @ np.asarray(costs['heads'])


def compare_times(network: StagedNetwork, images: Tensor, policy: ExitPolicy) -> List[dict]:
    """Time a policy against the deepest exit alone.

    Args:
        network (StagedNetwork): The network.
        images (Tensor): Preprocessed images, (N, 3, H, W).
        policy (ExitPolicy): The policy.

    Returns:
        list[dict]: For each batch size ``batch``, ``images``, in ms an image ``policy_ms`` and
        ``deepest_ms``, and ``share``, the first divided by the second.
    """
    rows = []
    for size, count in TIMED.items():
        batches = images[:count].split(size)
        policies = dict(policy_ms=policy, deepest_ms=FixedExitPolicy())
        times = time_policies(network, batches, policies)
        share = times['policy_ms'] / times['deepest_ms']
        rows.append(dict(batch=size, images=sum(map(len, batches)), **times, share=share))
    return rows


def time_policies(
    network: StagedNetwork, batches: Sequence[Tensor], policies: Dict[Hashable, ExitPolicy]
) -> Dict[Hashable, float]:
    """Milliseconds an image: median of at least three passes over the batches, in turn.

    Args:
        network (StagedNetwork): The network.
        batches (Sequence[Tensor]): Preprocessed images, (N, 3, H, W) each.
        policies (dict): Policies by name.
    """

    def classify(policy: ExitPolicy) -> None:
        for images in batches:
            run_policy(network, images, policy)

    calls = {name: partial(classify, policy) for name, policy in policies.items()}
    count = sum(map(len, batches))
    return {name: ms / count for name, ms in _median_ms(calls, batches[0].device, 3).items()}


@torch.no_grad()
def stage_times(network: StagedNetwork, images: Tensor) -> Dict[str, List[float]]:
    """Time every section and every exit head.

    Args:
        network (StagedNetwork): The network.
        images (Tensor): Preprocessed images, (N, 3, H, W); one, for the latency of one.

    Returns:
        dict: ``sections`` and ``heads``, C medians each, in ms. The head of the deepest exit counts
        with its section.
    """
    states = [(images,)]
    for number in range(1, network.num_exits):
        states.append(network.stage(number, states[-1], read=False)[0])
    calls = {
        (number, read): partial(network.stage, number, state, read)
        for number, state in enumerate(states, start=1)
        for read in (False, True)
    }
    times = _median_ms(calls, images.device, 50)
    sections = [times[i, False] for i in range(1, network.num_exits + 1)]
    heads = [max(times[i, True] - times[i, False], 0.0) for i in range(1, network.num_exits)]
    return dict(sections=sections, heads=[*heads, 0.0])


def _median_ms(
    calls: Dict[Hashable, Callable[[], object]], device: torch.device, at_least: int
) -> Dict[Hashable, float]:
    """Median milliseconds of each call, the device's work included."""

    def finished(call: Callable[[], object]) -> None:
        call()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)

    timed = {name: partial(finished, call) for name, call in calls.items()}
    times = interleaved(timed, seconds=0, at_least=at_least)
    return {name: 1000 * float(np.median(spent)) for name, spent in times.items()}


def format_policy_test(result: dict, policy: ExitPolicy) -> str:
    """What :func:`evaluate_policy` found, as text."""
    count = len(result['exit_shares'])
    rows = [
        ['exit', *(f'{i + 1}/{count}' for i in range(count))],
        ['stop here (%)', *(f'{100 * s:.1f}' for s in result['exit_shares'])],
        ['their top-1 (%)', *('-' if a is None else f'{a:.2f}' for a in result['exit_top1'])],
    ]
    times = [['batch', 'images', 'policy (ms an image)', 'deepest exit (ms an image)', 'ratio']]
    times += [list(row.values()) for row in result['time']]
    return (
        f'{policy.name} on {result["images"]} images: top-1 {result["top1"]:.2f} %, the deepest '
        f'exit alone {result["deepest_top1"]:.2f} %\n'
        f'FLOPs of an image: {result["flops"] / 1e9:.4g} G on average, '
        f"{result['flops_share']:.3f} of the deepest exit's\n\n"
        f'{format_table(rows)}\n\n{format_table(times)}'
    )
