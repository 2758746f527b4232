"""Test a policy: accuracy, MACs and measured time."""

from functools import partial
from typing import Callable, Dict, Hashable, List, Mapping, Sequence, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mmrazor_byot.evaluation.collect import Network, network_inputs
from mmrazor_byot.evaluation.complexity import stage_flops
from mmrazor_byot.progress import track
from mmrazor_byot.runtime.timing import interleaved
from mmrazor_byot.table import format_table

from .base import ExitPolicy
from .policies import FixedExitPolicy
from .run import EarlyExit, State, run_policy
from .staged_network import StagedNetwork

Name = TypeVar('Name', bound=Hashable)
#: How many images are timed at each batch size.
TIMED = {1: 100, 64: 320}


@torch.no_grad()
def evaluate_policy(model: Network, loader: DataLoader, policy: ExitPolicy) -> dict:
    """Run a policy on labelled images with a :class:`StagedNetwork`.

    Returns:
        dict: ``images``; in percent ``top1`` of the policy and ``deepest_top1``; ``flops``, mean
        MACs per image, and ``flops_share``, as a fraction of the deepest exit's; ``exit_shares``
        (C), the fraction of images that stop at each exit; ``exit_top1`` (C), their accuracy, None
        if there are none; ``time``, see :func:`compare_times`.
    """
    network = StagedNetwork(model)
    costs = stage_flops(model, model.input_size)
    results = []
    timed_images: List[Tensor] = []
    for batch in track(loader, 'Images'):
        images, labels = network_inputs(model, batch)
        outcome = run_policy(network, images, policy)
        deepest = run_policy(network, images, FixedExitPolicy())
        results.append(
            (
                outcome.scores.argmax(-1).cpu().numpy() == labels,
                deepest.scores.argmax(-1).cpu().numpy() == labels,
                outcome.exits.numpy(),
                policy_flops(costs, outcome),
            )
        )
        if sum(map(len, timed_images)) < max(TIMED.values()):
            timed_images.append(images)
    correct, deepest_correct, exits, flops = map(np.concatenate, zip(*results))
    stopped = [exits == number for number in range(1, network.num_exits + 1)]
    return dict(
        images=len(correct),
        top1=100 * float(correct.mean()),
        deepest_top1=100 * float(deepest_correct.mean()),
        flops=float(flops.mean()),
        flops_share=float(flops.mean()) / sum(costs['sections']),
        exit_shares=[float(here.mean()) for here in stopped],
        exit_top1=[100 * float(correct[here].mean()) if here.any() else None for here in stopped],
        time=compare_times(network, torch.cat(timed_images), policy),
    )


def policy_flops(costs: Mapping[str, Sequence[float]], outcome: EarlyExit) -> np.ndarray:
    """MACs of each image, (N,), from :func:`stage_flops`: of its sections and the heads run."""
    read = ~outcome.exit_scores[..., 0].isnan().cpu().numpy()
    sections = np.cumsum(costs['sections'])[outcome.exits.numpy() - 1]
    return sections + read @ np.asarray(costs['heads'])


def compare_times(network: StagedNetwork, images: Tensor, policy: ExitPolicy) -> List[dict]:
    """Time a policy and the deepest exit alone on preprocessed images (N, 3, H, W).

    Returns:
        list[dict]: For each batch size ``batch``, ``images``, in ms per image ``policy_ms`` and
        ``deepest_ms``, and ``share``, the first divided by the second.
    """
    rows = []
    policies = dict(policy_ms=policy, deepest_ms=FixedExitPolicy())
    for size, count in TIMED.items():
        batches = images[:count].split(size)
        times = time_policies(network, batches, policies)
        ratio = times['policy_ms'] / times['deepest_ms']
        rows.append(dict(batch=size, images=sum(map(len, batches)), **times, share=ratio))
    return rows


def time_policies(
    network: StagedNetwork, batches: Sequence[Tensor], policies: Mapping[Name, ExitPolicy]
) -> Dict[Name, float]:
    """Milliseconds per image of each policy, timed in turn.

    It is the median of at least three passes over batches of preprocessed images, (N, 3, H, W).
    """

    def classify(policy: ExitPolicy) -> None:
        for images in batches:
            run_policy(network, images, policy)

    calls = {name: partial(classify, policy) for name, policy in policies.items()}
    count = sum(map(len, batches))
    return {name: ms / count for name, ms in _median_ms(calls, batches[0].device, 3).items()}


@torch.no_grad()
def stage_times(network: StagedNetwork, images: Tensor) -> Dict[str, List[float]]:
    """Time every section and every exit head on preprocessed images (N, 3, H, W).

    Returns:
        dict: ``sections`` and ``heads``, C medians each, in ms for the batch. The deepest section
        includes its head, whose time is 0.
    """
    states: List[State] = [(images,)]
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
    calls: Mapping[Name, Callable[[], object]], device: torch.device, at_least: int
) -> Dict[Name, float]:
    """Median milliseconds of each call until the device has finished."""

    def finish(call: Callable[[], object]) -> None:
        call()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)

    timed: Dict[Hashable, Callable[[], object]] = {
        name: partial(finish, call) for name, call in calls.items()
    }
    times = interleaved(timed, seconds=0, at_least=at_least)
    return {name: 1000 * float(np.median(times[name])) for name in calls}


def format_policy_test(result: dict, policy: ExitPolicy) -> str:
    """The result of :func:`evaluate_policy` as text."""
    count = len(result['exit_shares'])
    rows = [
        ['exit', *(f'{i + 1}/{count}' for i in range(count))],
        ['stop here (%)', *(f'{100 * s:.1f}' for s in result['exit_shares'])],
        ['their top-1 (%)', *('-' if a is None else f'{a:.2f}' for a in result['exit_top1'])],
    ]
    times = [['batch', 'images', 'policy (ms per image)', 'deepest exit (ms per image)', 'ratio']]
    times += [list(row.values()) for row in result['time']]
    return (
        f'{policy.name} on {result["images"]} images: top-1 {result["top1"]:.2f} %, the deepest '
        f'exit alone {result["deepest_top1"]:.2f} %\n'
        f'FLOPs per image: {result["flops"] / 1e9:.4g} G on average, '
        f"{result['flops_share']:.3f} of the deepest exit's\n\n"
        f'{format_table(rows)}\n\n{format_table(times)}'
    )
