"""Collect the logits of a whole data set."""

from typing import Any, Iterable, NamedTuple, Tuple, Union

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.data import DataLoader

from mmrazor_byot.errors import DatasetError
from mmrazor_byot.exits import ExitNetwork
from mmrazor_byot.exits.shapes import eval_no_grad
from mmrazor_byot.progress import track
from mmrazor_byot.structures import BatchSamples

from .finite import check_logits

#: A BYOT network, ``add_exits`` of plain torch, or a classifier with one exit.
Network = Union[BaseModel, ExitNetwork]


class Logits(NamedTuple):
    """Logits (M, C, K) float32 of a data set, and its labels (M,)."""

    logits: np.ndarray
    labels: np.ndarray


def collect_logits(model: Network, loader: DataLoader) -> Logits:
    """Run a network (a plain one has one exit) on labelled images, with a progress bar.

    Raises:
        DatasetError: A label is not a class of the network.
        NonFiniteOutputError: An exit answers with NaN.
    """
    return run_over(model, track(loader, 'Images'))


def run_over(model: Network, batches: Iterable) -> Logits:
    """Run a network on batches, see :func:`collect_logits`."""
    logits, labels = [], []
    with eval_no_grad(model):
        for batch in batches:
            images, target = network_inputs(model, batch)
            outputs = model(images)
            outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
            logits.append(torch.stack(outputs, dim=1).float().cpu().numpy())
            labels.append(target)
    found = Logits(np.concatenate(logits), np.concatenate(labels))
    check_classes(found.labels, found.logits.shape[-1])
    check_logits(torch.from_numpy(found.logits))
    return found


def check_classes(labels: np.ndarray, num_classes: int) -> None:
    """Raise a DatasetError if a label is not a class of the network."""
    if labels.dtype.kind not in 'iu':
        raise DatasetError(f'labels are {labels.dtype}; they must be integers')
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DatasetError(
            f'labels from {labels.min()} to {labels.max()} for a network of {num_classes} classes: '
            'config and checkpoint do not fit the data'
        )


def network_inputs(model: Network, batch: Any) -> Tuple[Tensor, np.ndarray]:
    """Preprocess a batch: images (N, 3, H, W) on the network's device, and labels (N,).

    A plain torch network takes a batch of images and labels as it is.
    """
    if isinstance(model, ExitNetwork):
        images, target = batch
        return images.to(next(model.parameters()).device), target.cpu().numpy()
    data = model.data_preprocessor(batch, False)
    labels = BatchSamples.of(data['data_samples']).gt_label
    return data['inputs'], labels.cpu().numpy()
