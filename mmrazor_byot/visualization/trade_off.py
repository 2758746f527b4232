"""What a network that stops early gives, over all thresholds."""

from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.model import BaseModel
from rich.progress import track
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
from mmrazor_byot.early_exit.measure import policy_flops, time_policy
from mmrazor_byot.evaluation.collect import Logits, collect_logits, network_inputs
from mmrazor_byot.evaluation.complexity import stage_flops

#: Confidences at which the curve is taken.
CURVE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)
ROUNDS = 3


def measure_trade_off(
    model: BaseModel, loader: DataLoader, policies: Dict[str, ExitPolicy], timed_images: int
) -> Tuple[dict, Logits]:
    """Accuracy, FLOPs and time over thresholds, of exits and of policies.

    Args:
        model (BaseModel): BYOT, where it is to run.
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
    kinds = dict(
        curve=[(dict(threshold=t), ConfidencePolicy(t, **calibrated)) for t in CURVE],
        exits=[(dict(name=f'{i + 1}/{count}'), FixedExitPolicy(i + 1)) for i in range(count)]
        + [
            (dict(name='ensemble'), FixedExitPolicy(temperatures=first.temperatures, ensemble=True))
        ],
        policies=[(dict(name=name), p) for name, p in policies.items()],
    )
    times = iter(
        _times(model, loader, [p for kind in kinds.values() for _, p in kind], timed_images)
    )
    costs = stage_flops(model, model.input_size)
    recorded = RecordedNetwork(torch.from_numpy(data.logits))
    return {
        kind: [
            dict(**name, **_point(recorded.run(p), data.labels, costs), ms=next(times))
            for name, p in entries
        ]
        for kind, entries in kinds.items()
    }, data


def _point(outcome: EarlyExit, labels: np.ndarray, costs: Dict[str, Sequence[float]]) -> dict:
    exits = range(1, len(costs['sections']) + 1)
    return dict(
        top1=100 * float((outcome.scores.argmax(1).numpy() == labels).mean()),
        mflops=float(policy_flops(costs, outcome).mean() / 1e6),
        exit_shares=[float((outcome.exits == n).float().mean()) for n in exits],
    )


@torch.no_grad()
def _times(
    model: BaseModel, loader: DataLoader, policies: Sequence[ExitPolicy], count: int
) -> List[float]:
    """Milliseconds of an image, one by one; median of some rounds."""
    network = StagedNetwork(model)
    images = _first_images(model, loader, count).split(1)
    rounds = track(range(ROUNDS + 1), description='Timing', transient=True)
    times = [[time_policy(network, images, p) for p in policies] for _ in rounds]
    return np.median(times[1:], axis=0).tolist()  # the first one warms up


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
    """Images that left at each exit, for :func:`plot_gallery`.

    Args:
        data (Logits): Of the loader's images, in its order.
        loader (DataLoader): The images.
        policy (ExitPolicy): Decides where they leave.
        columns (int): At most so many of each exit, spread evenly over those that left there.
        bgr (bool): Whether the loader's images are BGR.

    Returns:
        list: For each exit dicts ``image`` (H, W, 3) uint8 RGB, ``answer`` and ``right``.
    """
    outcome = RecordedNetwork(torch.from_numpy(data.logits)).run(policy)
    answers = outcome.scores.argmax(1).numpy()
    names = loader.dataset.metainfo.get('classes')
    rows = []
    for number in range(1, data.logits.shape[1] + 1):
        left = np.flatnonzero(outcome.exits.numpy() == number)
        shown = left[np.linspace(0, len(left) - 1, min(columns, len(left))).round().astype(int)]
        rows.append(
            [
                dict(
                    image=_picture(loader.dataset[int(i)]['inputs'], bgr),
                    answer=_class_name(names, answers[i]),
                    right=bool(answers[i] == data.labels[i]),
                )
                for i in shown
            ]
        )
    return rows


def _picture(inputs: Tensor, bgr: bool) -> np.ndarray:
    image = inputs.permute(1, 2, 0).cpu().numpy()
    return image[..., ::-1] if bgr else image


def _class_name(names: Optional[Sequence[str]], label: int) -> str:
    return str(names[label]) if names else f'class {label}'
