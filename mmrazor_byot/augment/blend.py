"""Blends of an image with its grey or its smoothed self."""

from typing import Dict

import numpy as np
import torch
import torch.nn.functional as F

#: Weights of the channels in a grey value, OpenCV's. Shape (3, 1, 1).
GREY_WEIGHTS = {
    order: np.float32(weights).reshape(3, 1, 1) / 2**15
    for order, weights in (('bgr', (3735, 19235, 9798)), ('rgb', (9798, 19235, 3735)))
}


def blend_weights(magnitude: np.ndarray) -> Dict[str, np.ndarray]:
    """Weights for ``1 + magnitude`` of an image and the rest of another.

    Args:
        magnitude (np.ndarray): (N,).

    Returns:
        dict: ``alpha`` and ``beta`` for :func:`blend`, (N, 1, 1, 1).
    """
    factor = (1 + magnitude).reshape(-1, 1, 1, 1)
    return dict(
        alpha=factor.astype(np.float32).astype(np.float64), beta=(1 - factor).astype(np.float32)
    )


def blend(
    a: torch.Tensor, alpha: torch.Tensor, b: torch.Tensor, beta: torch.Tensor
) -> torch.Tensor:
    """``alpha a + beta b``, rounded where ``cv2.addWeighted`` rounds.

    OpenCV 5 has a fused multiply-add in float32; the product of two float32
    is exact in float64. (OpenCV 4 rounds once more: less than 1 % of the
    values become another whole number.)

    Args:
        a (torch.Tensor): Whole numbers below 2**24, any shape.
        alpha (torch.Tensor): float64 of float32 precision, to broadcast.
        b (torch.Tensor): float32, to broadcast.
        beta (torch.Tensor): float32, to broadcast.

    Returns:
        torch.Tensor: float32.
    """
    return (a * alpha).add_(b * beta).float()


def grey(images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Grey images, as ``cv2.cvtColor`` rounds them.

    Args:
        images (torch.Tensor): uint8 (N, 3, H, W).
        weights (torch.Tensor): Of the channels, see :data:`GREY_WEIGHTS`.

    Returns:
        torch.Tensor: Whole numbers, float32 (N, 1, H, W).
    """
    # No rounding before the last: the weights are multiples of 2**-15.
    return (images * weights).sum(1, keepdim=True).add_(0.5).floor_()


def adjust_color(
    images: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Blend with the grey image, as ``mmcv.adjust_color``.

    Args:
        images (torch.Tensor): uint8 (N, 3, H, W).
        alpha (torch.Tensor): See :func:`blend_weights`.
        beta (torch.Tensor): Likewise.
        weights (torch.Tensor): See :func:`grey`.

    Returns:
        torch.Tensor: uint8 (N, 3, H, W).
    """
    mixed = blend(images, alpha, grey(images, weights), beta)
    return mixed.round_().clamp_(0, 255).to(torch.uint8)


def adjust_sharpness(images: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Blend with the smoothed image, as ``mmcv.adjust_sharpness``.

    Args:
        images (torch.Tensor): uint8 (N, 3, H, W), 2 x 2 at least.
        alpha (torch.Tensor): See :func:`blend_weights`.
        beta (torch.Tensor): Likewise.

    Returns:
        torch.Tensor: uint8 (N, 3, H, W).
    """
    mixed = blend(images, alpha, smooth(images), beta)
    return mixed.clamp_(0, 255).to(torch.uint8)


def smooth(images: torch.Tensor) -> torch.Tensor:
    """Mean of a pixel (weight 5) and its eight neighbours, rounded.

    Args:
        images (torch.Tensor): uint8 (N, C, H, W); mirrored at the border.

    Returns:
        torch.Tensor: Whole numbers, float32 (N, C, H, W).
    """
    values = images.float()
    wide = F.pad(values, (1, 1, 1, 1), 'reflect')
    rows = (wide[:, :, :-2] + wide[:, :, 1:-1]).add_(wide[:, :, 2:])
    total = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    return total.add_(values, alpha=4).div_(13).round_()
