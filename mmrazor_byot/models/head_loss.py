"""Whether a classifier's head is trained by its ``loss_module`` alone, as BYOT trains it."""

import copy
from typing import List, Tuple

import torch
from mmengine.model import BaseModule
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn import functional as F

from mmrazor_byot.errors import ConfigError

SAMPLES = 4


def check_head_loss(head: BaseModule, feature: Tensor, num_classes: int) -> None:
    """Compare the ``loss`` of a head with ``loss_module(head(x), target)`` on random features.

    They differ for margins (ArcFace) and distilled heads (LeViT, EfficientFormer), for example.

    Args:
        head (BaseModule): The head; it is not changed.
        feature (Tensor): A feature that it takes, (1, D).
        num_classes (int): Number of classes, K.

    Raises:
        ConfigError: They differ, or the head has no such loss for one class an image.
    """
    labels = torch.arange(SAMPLES, device=feature.device) % num_classes
    scores = F.one_hot(labels, num_classes).float()  # as of Mixup; losses may take these only
    reason = ''
    for target, key in ((labels, 'gt_label'), (scores, 'gt_score')):
        samples = [DataSample().set_gt_label(label) for label in labels]
        if key == 'gt_score':
            samples = [sample.set_gt_score(score) for sample, score in zip(samples, scores)]
        try:
            own = _own_loss(head, feature, samples)
        except Exception as e:  # a head of the user can raise anything
            reason = reason or f'{type(e).__name__}: {" ".join(str(e).split())[:150]}'
            continue
        try:
            expected = _loss_of_logits(head, feature, target)
        except Exception:
            reason = 'its loss takes several labels an image'
            break
        if torch.allclose(own, expected, rtol=1e-4, atol=1e-6):
            return
        reason = f'on random features its loss is {own:.4g}, that of its loss_module {expected:.4g}'
        break
    raise ConfigError(
        f'the head {type(head).__name__} cannot be distilled, as it is not trained by the loss of '
        f'its logits for one class an image ({reason}): use another, such as LinearClsHead'
    )


@torch.no_grad()
def _own_loss(head: BaseModule, feature: Tensor, samples: List[DataSample]) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        trained, x = _seeded(head, feature)
        terms = trained.loss(x, samples)
    return torch.stack([value for name, value in terms.items() if 'loss' in name]).sum()


@torch.no_grad()
def _loss_of_logits(head: BaseModule, feature: Tensor, target: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        trained, x = _seeded(head, feature)
        return trained.loss_module(trained(x), target, avg_factor=SAMPLES)


def _seeded(head: BaseModule, feature: Tensor) -> Tuple[BaseModule, Tuple[Tensor]]:
    """A copy of a head in training mode, and random features."""
    torch.manual_seed(0)  # for dropout, too
    return copy.deepcopy(head).train(), (torch.randn(SAMPLES, *feature.shape[1:]).to(feature),)
