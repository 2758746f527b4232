"""What a user writes to add exits to a trained network: with this package, and with earlyon.

retrofit.py runs these functions and counts the lines of their bodies.
"""

import inspect
from typing import Any, Callable, List, NamedTuple

import torch
from earlyon.core.thresholds import calibrate_thresholds
from earlyon.models import custom_ee
from earlyon.training import stage2_train_exits
from torch import nn
from torch.utils.data import DataLoader

from mmrazor_byot.calibration import calibrate_network
from mmrazor_byot.exits import ExitNetwork, LogitLoss, add_exits, keep_maps, train_exits


def attach_ours(net: nn.Module, after: List[str], size: int, heads: List[Callable]) -> ExitNetwork:
    """Exits that learn from the frozen network alone."""
    losses = dict(label_loss=None, logit_loss=LogitLoss(2), hint_loss=None)
    return add_exits(net, after, size, heads, **losses, freeze=True)


def train_ours(model: ExitNetwork, images: DataLoader, epochs: int, views: int) -> None:
    """Without labels, on feature maps that are computed once."""
    train_exits(model, keep_maps(model, images, views, dtype=torch.float16), epochs)


def calibrate_ours(model: ExitNetwork, held_out: DataLoader, max_drop: float) -> Any:
    """The policy, as a file that can be saved."""
    return calibrate_network(model, held_out, max_drop).file


def attach_earlyon(net: nn.Module, after: List[str], size: int, heads: List[Callable]) -> nn.Module:
    """It has one kind of head: pooling and two linear layers."""
    return custom_ee(net, after, num_classes=10, input_shape=(1, 3, size, size))


def train_earlyon(model: nn.Module, images: DataLoader, epochs: int) -> None:
    """With labels; the frozen network runs in every epoch."""
    stage2_train_exits(model, images, epochs=epochs)
    model.eval()


def calibrate_earlyon(model: nn.Module, held_out: DataLoader, max_drop: float) -> Any:
    """The thresholds are kept in the model."""
    return calibrate_thresholds(model, held_out, target_accuracy_drop=max_drop / 100)


class Method(NamedTuple):
    """What its user does, in this order."""

    attach: Callable
    train: Callable
    calibrate: Callable


METHODS = dict(
    ours=Method(attach_ours, train_ours, calibrate_ours),
    earlyon=Method(attach_earlyon, train_earlyon, calibrate_earlyon),
)


def count_lines(method: Method) -> int:
    """Lines of the bodies of its functions, without docstrings."""
    count = 0
    for function in method:
        source = inspect.getsource(function)
        body = source.split('"""')[-1].strip()
        count += len(body.splitlines())
    return count
