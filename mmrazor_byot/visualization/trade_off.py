"""Accuracy, cost and time of a network that stops early, over all thresholds."""

from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.data import DataLoader

from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    EarlyExit,
    ExitPolicy,
    FixedExitPolicy,
    RecordedNetwork,
    StagedNetwork,
)
from mmrazor_byot.early_exit.measure import policy_flops, time_policies
from mmrazor_byot.evaluation.collect import Logits, collect_logits, network_inputs
from mmrazor_byot.evaluation.complexity import stage_flops

#: Confidences at which the curve is taken.
CURVE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)


@torch.no_grad()
def measure_trade_off(
    model: BaseModel, loader: DataLoader, policies: Dict[str, ExitPolicy], timed_images: int
) -> Tuple[dict, Logits]:
    """Accuracy, FLOPs and time over thresholds, of exits and of policies.

    Args:
        model (BaseModel): BYOT, on the device where it is to run.
        loader (DataLoader): The test images.
        policies (dict): Calibrated policies by name; the curve takes temperatures and answer of the
            first.
        timed_images (int): So many are timed, one by one.

    Returns:
        tuple: Lists ``curve`` (one ``threshold`` for all exits), ``exits`` (``name`` 1/C … C/C,
        ensemble) and ``policies``, of dicts with ``top1`` (%), ``mflops``, ``ms`` of an image and
        ``exit_shares`` (C); and the logits.
    """
    data = collect_logits(model, loader)
    first = next(iter(policies.values()), ConfidencePolicy(1.0))
    calibrated = dict(temperatures=first.temperatures, ensemble=first.ensemble)
    count = model.num_exits
    tried = [('curve', dict(threshold=t), ConfidencePolicy(t, **calibrated)) for t in CURVE]
    tried += [
        ('exits', dict(name=f'{i + 1}/{count}'), FixedExitPolicy(i + 1)) for i in range(count)
    ]
    ensemble = FixedExitPolicy(temperatures=first.temperatures, ensemble=True)
    tried.append(('exits', dict(name='ensemble'), ensemble))
    tried += [('policies', dict(name=name), policy) for name, policy in policies.items()]
    images = _first_images(model, loader, timed_images).split(1)
    times = time_policies(StagedNetwork(model), images, {i: p for i, (_, _, p) in enumerate(tried)})
    costs = stage_flops(model, model.input_size)
    recorded = RecordedNetwork(torch.from_numpy(data.logits))
    found: Dict[str, List[dict]] = dict(curve=[], exits=[], policies=[])
    for i, (kind, name, policy) in enumerate(tried):
        point = _point(recorded.run(policy), data.labels, costs)
        found[kind].append(dict(**name, **point, ms=times[i]))
    return found, data


def _point(outcome: EarlyExit, labels: np.ndarray, costs: Dict[str, Sequence[float]]) -> dict:
    exits = range(1, len(costs['sections']) + 1)
    return dict(
        top1=100 * float((outcome.scores.argmax(1).numpy() == labels).mean()),
        mflops=float(policy_flops(costs, outcome).mean() / 1e6),
        exit_shares=[float((outcome.exits == n).float().mean()) for n in exits],
    )


def _first_images(model: BaseModel, loader: DataLoader, count: int) -> Tensor:
    batches = []
    for batch in loader:
        batches.append(network_inputs(model, batch)[0])
        if sum(map(len, batches)) >= count:
            break
    return torch.cat(batches)[:count]


def gallery_rows(
    data: Logits, loader: DataLoader, policy: ExitPolicy, columns: int, bgr: bool
) -> List[List[dict]]:
    """Images that stopped at each exit, for :func:`plot_gallery`.

    Args:
        data (Logits): Of the loader's images, in its order.
        loader (DataLoader): The images.
        policy (ExitPolicy): Decides where they stop.
        columns (int): At most so many of each exit, spread evenly over those that stopped there.
        bgr (bool): Whether the loader's images are BGR.

    Returns:
        list: For each exit dicts ``image`` (H, W, 3) uint8 RGB, ``answer`` and ``right``.
    """
    outcome = RecordedNetwork(torch.from_numpy(data.logits)).run(policy)
    answers = outcome.scores.argmax(1).tolist()
    names = loader.dataset.metainfo.get('classes') or [
        f'class {i}' for i in range(data.logits.shape[2])
    ]
    rows = []
    for number in range(1, data.logits.shape[1] + 1):
        here = np.flatnonzero(outcome.exits.numpy() == number)
        shown = here[np.linspace(0, len(here) - 1, min(columns, len(here))).round().astype(int)]
        row = []
        for i in shown.tolist():
            image = loader.dataset[i]['inputs'].permute(1, 2, 0).cpu().numpy()
            right = bool(answers[i] == data.labels[i])
            row.append(
                dict(
                    image=image[..., ::-1] if bgr else image,
                    answer=str(names[answers[i]]),
                    right=right,
                )
            )
        rows.append(row)
    return rows
