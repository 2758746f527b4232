"""A policy on a test set: accuracy, cost, and time that was measured."""

from typing import Dict, List, Sequence

import numpy as np
import torch
from mmengine.model import BaseModel
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from mmrazor_byot.evaluation.collect import network_inputs
from mmrazor_byot.evaluation.complexity import stage_flops

from .base import ExitPolicy
from .policies import FixedExitPolicy
from .latency import clock
from .run import EarlyExit, run_policy
from .staged_network import StagedNetwork

#: So many images are timed at each batch size, three times over.
TIMED = {1: 200, 64: 640}
ROUNDS = 3


@torch.no_grad()
def evaluate_policy(model: BaseModel, loader: DataLoader, policy: ExitPolicy) -> dict:
    """Run a policy over labelled images, stopping for real.

    Args:
        model (BaseModel): BYOT, where it is to run.
        loader (DataLoader): The images.
        policy (ExitPolicy): Who leaves where.

    Returns:
        dict: ``images``; in percent ``top1`` of the policy and ``deepest_top1``; ``flops`` of an
        image on average and ``flops_share`` of the deepest exit's; ``exit_shares`` (C), the share
        leaving at each; ``exit_top1`` (C), the accuracy of those leaving there, None where nobody
        does; ``time``, see :func:`compare_times`.
    """
    network = StagedNetwork(model)
    deepest = FixedExitPolicy()
    right, best, exits, flops, kept = [], [], [], [], []
    costs = stage_flops(model, model.input_size)
    for batch in track(loader, description='Images', transient=True):
        images, labels = network_inputs(model, batch)
        outcome = run_policy(network, images, policy)
        right.append(outcome.scores.argmax(-1).cpu().numpy() == labels)
        exits.append(outcome.exits.numpy())
        flops.append(policy_flops(costs, outcome))
        answers = run_policy(network, images, deepest).scores
        best.append(answers.argmax(-1).cpu().numpy() == labels)
        if sum(map(len, kept)) < max(TIMED.values()):
            kept.append(images)
    right, exits = np.concatenate(right), np.concatenate(exits)
    number = np.arange(1, network.num_exits + 1)
    whole = sum(costs['sections'])
    flops = float(np.concatenate(flops).mean())
    return dict(
        images=len(right),
        top1=100 * float(right.mean()),
        deepest_top1=100 * float(np.concatenate(best).mean()),
        flops=flops,
        flops_share=flops / whole,
        exit_shares=[float((exits == n).mean()) for n in number],
        exit_top1=[
            100 * float(right[exits == n].mean()) if (exits == n).any() else None for n in number
        ],
        time=compare_times(network, torch.cat(kept), policy),
    )


def policy_flops(costs: Dict[str, Sequence[float]], outcome: EarlyExit) -> np.ndarray:
    """FLOPs of each image, from where it left and what was read.

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
    """Time a policy against the deepest exit alone, in turn.

    Args:
        network (StagedNetwork): The network.
        images (Tensor): Preprocessed images, (N, 3, H, W).
        policy (ExitPolicy): The policy.

    Returns:
        list[dict]: For each batch size ``batch``, ``images``, and in ms an image ``policy_ms`` and
        ``deepest_ms``, the median of three rounds; ``share``, the first by the second.
    """
    rows = []
    for size, count in TIMED.items():
        batches = images[:count].split(size)
        times = np.array(
            [
                [time_policy(network, batches, p) for p in (policy, FixedExitPolicy())]
                for _ in range(ROUNDS + 1)
            ]
        )[1:]  # the first round warms up
        policy_ms, deepest_ms = np.median(times, axis=0)
        rows.append(
            dict(
                batch=size,
                images=sum(map(len, batches)),
                policy_ms=float(policy_ms),
                deepest_ms=float(deepest_ms),
                share=float(np.median(times[:, 0] / times[:, 1])),
            )
        )
    return rows


def time_policy(network: StagedNetwork, batches: Sequence[Tensor], policy: ExitPolicy) -> float:
    """Milliseconds an image, over all batches.

    Args:
        network (StagedNetwork): The network.
        batches (Sequence[Tensor]): Preprocessed images, (N, 3, H, W) each.
        policy (ExitPolicy): The policy.
    """
    total = sum(clock(images.device, run_policy, network, images, policy) for images in batches)
    return total / sum(map(len, batches))


def format_policy_test(result: dict, policy: ExitPolicy) -> str:
    """What :func:`evaluate_policy` found, as text."""
    count = len(result['exit_shares'])
    lines = [
        f'{policy.name} on {result["images"]} images: top-1 {result["top1"]:.2f} %, the deepest '
        f'exit alone {result["deepest_top1"]:.2f} %',
        f'FLOPs of an image: {result["flops"] / 1e9:.4g} G on average, '
        f"{result['flops_share']:.3f} of the deepest exit's",
        '',
    ]
    heads = [f'{i + 1}/{count}' for i in range(count)]
    rows = [
        ('leave at exit', heads),
        ('images (%)', [f'{100 * s:.1f}' for s in result['exit_shares']]),
        ('their top-1 (%)', ['-' if a is None else f'{a:.2f}' for a in result['exit_top1']]),
    ]
    lines += [f'{name:<16}' + ''.join(f'{cell:>9}' for cell in cells) for name, cells in rows] + [
        ''
    ]
    for row in result['time']:
        lines.append(
            f'batch {row["batch"]:>3}: {row["policy_ms"]:.3f} ms an image, the deepest exit '
            f'{row["deepest_ms"]:.3f} ms, share {row["share"]:.3f} ({row["images"]} images)'
        )
    return '\n'.join(lines)
