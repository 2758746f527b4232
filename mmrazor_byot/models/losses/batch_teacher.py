"""The deepest exit's softmax, averaged over images that look alike to it."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS

from .precision import full_precision


def batch_ensemble(logits: Tensor,
                   feature: Tensor,
                   temperature: float = 3.0,
                   omega: float = 0.5,
                   tau: float = 0.1) -> Tensor:
    r"""Let each sample's softmax take in those of its neighbours.

    A network that knows its training images by heart has little more to
    teach than their labels. What it says of the other images of the batch
    that are alike to it, and of those alike to these, has more (batch
    knowledge ensembling, arXiv 2104.13298):

    .. math::
        Q = (1 - \omega) (I - \omega A)^{-1} P, \qquad
        A_{nm} = \frac{e^{\cos(F_n, F_m) / \tau}}
                      {\sum_{k \ne n} e^{\cos(F_n, F_k) / \tau}},
        \quad A_{nn} = 0

    with :math:`P = softmax(z / T)`, a row for each sample. The paper has no
    :math:`\tau` (it is 1) and chooses batches with images of one class; a
    smaller one leaves the choice to the features.

    Args:
        logits (Tensor): Scores :math:`z`, (N, K).
        feature (Tensor): Features :math:`F`, (N, D) or (N, D, 1, 1).
        temperature (float): :math:`T`, that of the loss it is made for.
        omega (float): How much comes from others, from 0 (none) to below 1.
        tau (float): The smaller, the fewer neighbours count.

    Returns:
        Tensor: :math:`T \log Q`, (N, K): logits whose softmax at the
        temperature is :math:`Q`.
    """
    logits, feature = full_precision(logits), full_precision(feature)
    if len(logits) == 1:
        return logits  # no neighbours
    with torch.autocast(logits.device.type, enabled=False):
        unit = F.normalize(feature.flatten(1), dim=1)
        alone = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        likeness = (unit @ unit.T / tau).masked_fill(alone, float('-inf'))
        system = alone.to(unit.dtype) - omega * likeness.softmax(dim=1)
        own = (logits / temperature).softmax(dim=1)
        ensemble = (1 - omega) * torch.linalg.solve(system, own)
        tiny = torch.finfo(ensemble.dtype).tiny
        return temperature * ensemble.clamp_min(tiny).log()


@MODELS.register_module()
class BatchTeacher(nn.Module):
    """:func:`batch_ensemble` as BYOT's ``teacher``.

    It looks at the samples of one process: where these are few for the
    number of classes, it finds few alike.

    Args:
        temperature (float): Positive, that of the logit loss. Defaults to
            3.0.
        omega (float): From 0 to below 1. Defaults to 0.5.
        tau (float): Positive. Defaults to 0.1.

    Raises:
        ConfigError: A number is out of its range.
    """

    def __init__(self,
                 temperature: float = 3.0,
                 omega: float = 0.5,
                 tau: float = 0.1) -> None:
        super().__init__()
        positive = all(0 < x < float('inf') for x in (temperature, tau))
        if not (positive and 0 <= omega < 1):
            raise ConfigError(
                f'BatchTeacher(temperature={temperature}, omega={omega}, '
                f'tau={tau}): temperature and tau must be positive numbers, '
                'omega from 0 to below 1')
        self.temperature, self.omega, self.tau = temperature, omega, tau

    def forward(self, logits: Tensor, feature: Tensor) -> Tensor:
        """What to learn from logits (N, K) and feature (N, D): (N, K)."""
        return batch_ensemble(logits, feature, self.temperature, self.omega,
                              self.tau)
