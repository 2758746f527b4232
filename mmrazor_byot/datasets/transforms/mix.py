"""Mixup and CutMix, each image by its own draw."""

from abc import ABC, abstractmethod
from typing import Dict, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import torch

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import TRANSFORMS

from .base import uniform
from .cutout import sides
from .transfer import to_device


class Mixing(NamedTuple):
    """How much of each image stays, besides that of its partner.

    ``None`` where nothing of the kind is drawn.
    """

    label: np.ndarray  # weight of its own scores, float32 (N,)
    pixel: Optional[np.ndarray] = None  # of its own pixels, float32 (N,)
    boxes: Optional[np.ndarray] = None  # the partner's place, int64 (N, 4)

    def arrays(self, size: Tuple[int, int]) -> Dict[str, np.ndarray]:
        """What :func:`mix` needs for images of a height and width."""
        arrays = dict(label=self.label[:, None])
        if self.pixel is not None:
            arrays['pixel'] = self.pixel[:, None, None, None]
        if self.boxes is not None:
            arrays.update(sides(self.boxes, size))
        return arrays


class BatchMix(ABC):
    """Base of the mixes: ``images, scores -> images, scores``.

    Every image gets its own partner, from one permutation of the batch, and its own weight: each
    has the distribution that mmpretrain's batch augments give to it, which draw one weight for the
    whole batch.
    """

    @abstractmethod
    def draw(self, n: int, size: Tuple[int, int]) -> Mixing:
        """Draw for n images of a height and width."""

    def __call__(
        self, images: torch.Tensor, scores: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Mix a batch.

        Args:
            images (torch.Tensor): Floats (N, C, H, W).
            scores (torch.Tensor): Chances of the classes, (N, K).

        Returns:
            tuple: Mixed images and scores; the given ones stay.
        """
        partner = torch.randperm(len(images)).numpy()
        size = tuple(images.shape[2:])
        draws = dict(self.draw(len(images), size).arrays(size), partner=partner)
        (tensors,) = to_device([draws], images.device)
        return mix(images, scores.float(), **tensors)


class WeightedMix(BatchMix):
    """Base of the mixes with a weight for each image.

    Args:
        alpha (float): The weights are Beta(alpha, alpha).
        prob (float): Chance that an image is mixed. Defaults to 1.

    Raises:
        ConfigError: A setting out of range.
    """

    def __init__(self, alpha: float, prob: float = 1.0):
        if not (alpha > 0 and 0 <= prob <= 1):
            raise ConfigError(
                f'{type(self).__name__}: alpha={alpha}, prob={prob}; above 0, and from 0 to 1'
            )
        both = torch.tensor([alpha, alpha], dtype=torch.float64)
        self.beta, self.prob = torch.distributions.Dirichlet(both), prob

    def draw_weights(self, n: int) -> np.ndarray:
        """Float64 (n,); 1 for the images that are not mixed."""
        drawn = self.beta.sample((n,))[:, 0].numpy()
        return np.where(uniform(n) < self.prob, drawn, 1.0)


@TRANSFORMS.register_module()
class BatchMixup(WeightedMix):
    """mmpretrain's ``Mixup``, with a weight for each image.

    Its settings are those of :class:`WeightedMix`.
    """

    def draw(self, n: int, size: Tuple[int, int]) -> Mixing:
        weight = self.draw_weights(n).astype(np.float32)
        return Mixing(weight, pixel=weight)


@TRANSFORMS.register_module()
class BatchCutMix(WeightedMix):
    """mmpretrain's ``CutMix``, with a box for each image.

    Its settings are those of :class:`WeightedMix`; the weight is the area outside the box, before
    the image's border cuts it.
    """

    def draw(self, n: int, size: Tuple[int, int]) -> Mixing:
        boxes = cutmix_boxes(self.draw_weights(n), uniform(n, 2), size)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        label = 1 - area / (size[0] * size[1])
        return Mixing(label.astype(np.float32), boxes=boxes)


@TRANSFORMS.register_module()
class BatchMixChoice(BatchMix):
    """For each image one of several mixes, or none.

    Args:
        mixes (Sequence[BatchMix | dict]): Them, or their configs.
        probs (Sequence[float], optional): Chance of each; what is left to 1 is that of none. All
            the same if not given.

    Raises:
        ConfigError: The chances do not fit.
    """

    def __init__(
        self, mixes: Sequence[Union[BatchMix, dict]], probs: Optional[Sequence[float]] = None
    ):
        self.mixes = [TRANSFORMS.build(m) if isinstance(m, dict) else m for m in mixes]
        if probs is None:
            probs = [1 / len(mixes)] * len(mixes)
        if len(probs) != len(mixes) or min(probs) < 0 or sum(probs) > 1 + 1e-9:
            raise ConfigError(
                f'BatchMixChoice: probs={probs}; one for each of the {len(mixes)} mixes, none '
                'below 0, 1 at most in all'
            )
        self.bounds = np.cumsum(probs)

    def draw(self, n: int, size: Tuple[int, int]) -> Mixing:
        choice = np.searchsorted(self.bounds, uniform(n), side='right')
        mixed = Mixing(*np.ones((2, n), np.float32), np.zeros((n, 4), np.int64))
        for i, one in enumerate(self.mixes):
            for whole, part in zip(mixed, one.draw(n, size)):
                if part is not None:
                    whole[choice == i] = part[choice == i]
        return mixed


def cutmix_boxes(weights: np.ndarray, places: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Boxes as mmpretrain's ``CutMix`` places them: top, left, bottom, right, (N, 4).

    Args:
        weights (np.ndarray): Area outside each box, of the image's, (N,).
        places (np.ndarray): Two numbers from [0, 1) for each, (N, 2).
        size (tuple): Height and width of the images.
    """
    size = np.array(size)
    half = (size * np.sqrt(1 - weights)[:, None]).astype(np.int64) // 2
    center = (places * size).astype(np.int64)
    return np.hstack([np.clip(center - half, 0, size), np.clip(center + half, 0, size)])


def mix(
    images: torch.Tensor,
    scores: torch.Tensor,
    partner: torch.Tensor,
    label: torch.Tensor,
    pixel: Optional[torch.Tensor] = None,
    rows: Optional[torch.Tensor] = None,
    columns: Optional[torch.Tensor] = None,
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Mix images (N, C, H, W) and scores (N, K), floats, with those of partners.

    Args:
        images (torch.Tensor): (N, C, H, W).
        scores (torch.Tensor): (N, K).
        partner (torch.Tensor): Number of each one's partner, (N,).
        label (torch.Tensor): Weight of the own scores, (N, 1).
        pixel (torch.Tensor, optional): Weight of the own pixels, (N, 1, 1, 1).
        rows (torch.Tensor, optional): Rows of the partner's box, see :func:`~.cutout.sides`.
        columns (torch.Tensor, optional): Columns of the partner's box.
    """
    other = images.index_select(0, partner)
    mixed = images
    if pixel is not None:
        own = pixel.to(images.dtype)
        mixed = images * own + other * (1 - own)
    if rows is not None:
        mixed = torch.where((rows * columns).bool(), other, mixed)
    theirs = scores.index_select(0, partner)
    return mixed, scores * label + theirs * (1 - label)
