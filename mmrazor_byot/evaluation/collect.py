"""The logits of a whole data set."""
from typing import NamedTuple, Tuple

import numpy as np
import torch
from mmengine.model import BaseModel
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from mmrazor_byot.errors import DatasetError
from mmrazor_byot.models.algorithms.network_view import looking
from mmrazor_byot.structures import BatchSamples


class Logits(NamedTuple):
    """What the exits say about a data set.

    Attributes:
        logits (np.ndarray): (M, C, K) float32.
        labels (np.ndarray): Right classes, (M,).
    """

    logits: np.ndarray
    labels: np.ndarray


def collect_logits(model: BaseModel, loader: DataLoader) -> Logits:
    """Run a network over labelled images.

    Args:
        model (BaseModel): BYOT, where it is to run.
        loader (DataLoader): The images.

    Returns:
        Logits: In the loader's order.

    Raises:
        DatasetError: A label is no class of the network.
    """
    logits, labels = [], []
    with looking(model):
        for batch in track(loader, description='Images', transient=True):
            images, target = network_inputs(model, batch)
            answers = model(images, mode='tensor')
            logits.append(torch.stack(answers, dim=1).float().cpu().numpy())
            labels.append(target)
    logits, labels = np.concatenate(logits), np.concatenate(labels)
    if labels.min() < 0 or labels.max() >= logits.shape[-1]:
        raise DatasetError(
            f'labels from {labels.min()} to {labels.max()} for a network of '
            f'{logits.shape[-1]} classes: config and checkpoint do not fit '
            'the data')
    return Logits(logits, labels)


def network_inputs(model: BaseModel, batch: dict) -> Tuple[Tensor, np.ndarray]:
    """Preprocess what a loader gave.

    Args:
        model (BaseModel): With a ``data_preprocessor``.
        batch (dict): ``inputs`` and ``data_samples``.

    Returns:
        tuple: Images (N, 3, H, W) on the network's device, labels (N,).
    """
    data = model.data_preprocessor(batch, False)
    labels = BatchSamples.of(data['data_samples']).gt_label
    return data['inputs'], labels.cpu().numpy()
