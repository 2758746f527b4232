"""Measure accuracy, MACs and time of early exiting over the thresholds."""

from itertools import chain, islice
from typing import Dict, List, Mapping, Tuple

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from torch.utils.data import DataLoader

from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    ExitPolicy,
    FixedExitPolicy,
    RecordedNetwork,
    StagedNetwork,
)
from mmrazor_byot.early_exit.measure import policy_flops, time_policies
from mmrazor_byot.evaluation.collect import Logits, collect_logits, network_inputs
from mmrazor_byot.evaluation.complexity import stage_flops

#: Thresholds of the curve.
CURVE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)


@torch.no_grad()
def measure_trade_off(
    model: BaseModel, loader: DataLoader, policies: Mapping[str, ExitPolicy], timed_images: int
) -> Tuple[Dict[str, List[dict]], Logits]:
    """Measure accuracy, MACs and time of thresholds, exits and calibrated policies.

    The curve uses ``temperatures`` and ``ensemble`` of the first policy; of the loader's images the
    first ``timed_images`` are timed, with batch size 1.

    Returns:
        tuple: Lists ``curve`` (with the ``threshold`` of all exits), ``exits`` (with ``name``: 1/C
        to C/C, ensemble) and ``policies`` (with ``name``), of dicts with ``top1`` (%), ``mflops``
        (MACs / 10^6) and ``ms`` per image, and ``exit_shares`` (C); and the logits.
    """
    data = collect_logits(model, loader)
    first = next(iter(policies.values()), ConfidencePolicy(1.0))
    temperatures, count = first.temperatures, model.num_exits
    measured: List[Tuple[str, dict, ExitPolicy]] = [
        *(
            ('curve', dict(threshold=t), ConfidencePolicy(t, temperatures, first.ensemble))
            for t in CURVE
        ),
        *(('exits', dict(name=f'{i + 1}/{count}'), FixedExitPolicy(i + 1)) for i in range(count)),
        ('exits', dict(name='ensemble'), FixedExitPolicy(-1, temperatures, ensemble=True)),
        *(('policies', dict(name=name), policy) for name, policy in policies.items()),
    ]
    batches = (network_inputs(model, batch)[0].split(1) for batch in loader)
    images = list(islice(chain.from_iterable(batches), timed_images))
    times = time_policies(
        StagedNetwork(model), images, {i: p for i, (*_, p) in enumerate(measured)}
    )
    costs = stage_flops(model, model.input_size)
    recorded = RecordedNetwork(torch.from_numpy(data.logits))
    found: Dict[str, List[dict]] = dict(curve=[], exits=[], policies=[])
    for i, (kind, name, policy) in enumerate(measured):
        outcome = recorded.run(policy)
        found[kind].append(
            dict(
                **name,
                top1=100 * float((outcome.scores.argmax(1).numpy() == data.labels).mean()),
                mflops=float(policy_flops(costs, outcome).mean() / 1e6),
                exit_shares=[float((outcome.exits == n + 1).float().mean()) for n in range(count)],
                ms=times[i],
            )
        )
    return found, data


def gallery_rows(
    data: Logits, loader: DataLoader, policy: ExitPolicy, columns: int, bgr: bool
) -> List[List[dict]]:
    """Choose up to ``columns`` images that left at each exit, evenly spaced in the data set.

    Returns:
        list[list[dict]]: For each exit its images: ``image`` (H, W, 3) uint8 RGB, ``answer`` (the
        name of the predicted class) and ``right`` (whether it is correct).
    """
    outcome = RecordedNetwork(torch.from_numpy(data.logits)).run(policy)
    answers = outcome.scores.argmax(1).numpy()
    _, num_exits, num_classes = data.logits.shape
    dataset: BaseDataset = loader.dataset
    names = dataset.metainfo.get('classes') or [f'class {i}' for i in range(num_classes)]
    rows, step = [], -1 if bgr else 1
    for number in range(1, num_exits + 1):
        here = np.flatnonzero(outcome.exits.numpy() == number)
        shown = here[np.linspace(0, len(here) - 1, min(columns, len(here))).round().astype(int)]
        rows.append(
            [
                dict(
                    image=dataset[i]['inputs'].permute(1, 2, 0).cpu().numpy()[..., ::step],
                    answer=str(names[answers[i]]),
                    right=bool(answers[i] == data.labels[i]),
                )
                for i in shown.tolist()
            ]
        )
    return rows
