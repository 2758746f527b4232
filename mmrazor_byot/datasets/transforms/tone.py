"""Kernels for tone and color: ``(images, magnitude, params) -> images``.

Images are uint8 (N, 3, H, W), magnitudes (N,) and params (N, P).
"""

from typing import Dict

import numpy as np
import torch
import torch.nn.functional as F

from .base import Kernel, per_sample, to_device

#: OpenCV's weights of the channels of BGR images; MMCV assumes BGR for all images.
GRAY_WEIGHTS = np.array([3735, 19235, 9798], np.float32).reshape(3, 1, 1) / 2**15


def invert(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Invert all pixels."""
    return 255 - images


def solarize(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Invert pixels at or above the magnitude."""
    return torch.where(images < per_sample(magnitude, images), images, 255 - images)


def solarize_add(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Add the magnitude to pixels below a threshold, the only param."""
    added = (images + per_sample(magnitude, images)).clamp_(0, 255).to(torch.uint8)
    return torch.where(images < per_sample(params[:, 0], images), added, images)


def posterize(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Keep the highest bits; their number is the magnitude, rounded up."""
    low_bits = 8 - np.ceil(magnitude).astype(np.int64)
    return images & per_sample((255 << low_bits).astype(np.uint8), images)


def brightness(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Multiply by 1 + magnitude."""
    factor = per_sample(np.float32(1 + magnitude), images)
    return (images * factor).clamp_(0, 255).to(torch.uint8)


def contrast(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Blend with the mean gray, as ``mmcv.adjust_contrast``."""
    mean = gray(images).mean((1, 2, 3), True, dtype=torch.float64).round_().float()
    return blend(images, mean, magnitude).clamp_(0, 255).to(torch.uint8)


def color(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Blend with the gray image, as ``mmcv.adjust_color``."""
    mixed = blend(images, gray(images), magnitude)
    return mixed.round_().clamp_(0, 255).to(torch.uint8)


def sharpness(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Blend with the smoothed image, as ``mmcv.adjust_sharpness``."""
    return blend(images, smooth(images), magnitude).clamp_(0, 255).to(torch.uint8)


def auto_contrast(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Stretch each channel to 0 ... 255, as ``mmcv.auto_contrast``."""
    low, high = images.amin((2, 3), True), images.amax((2, 3), True)
    span = (high - low).double()
    scale = torch.full_like(span, 255) / span  # 255 / span would round twice
    stretched = (images * scale).sub_(low * scale).clamp_(0, 255).to(torch.uint8)
    return torch.where(high > low, stretched, images)  # a channel of one value stays


def equalize(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Equalize the histogram of each channel, as ``mmcv.imequalize``; 2**24 pixels at most."""
    values = images.flatten(2).long()
    pixels = values.size(2)
    counts = torch.zeros(*values.shape[:2], 256, device=values.device)
    # Expanded ones would take twice the time.
    counts.scatter_add_(2, values, torch.ones(values.shape, device=values.device))
    # In integers: a cumsum of floats is not deterministic on a GPU.
    total = counts.cumsum(2, dtype=torch.int32)
    # The smallest positive number of pixels above a value is the count of the highest value.
    last = F.threshold(pixels - total, 0, pixels, inplace=True).amin(2, keepdim=True)
    step = ((pixels - last) / 255).floor_()
    half = (step / 2).floor_()
    # Exact in float32: integers below 2**24, whose rounded quotient never reaches the next integer.
    table = (total - counts).add_(half).div_(step).floor_().clamp_(max=255)
    grays = torch.arange(256.0, device=values.device)
    table = torch.where(step.bool(), table, grays).to(torch.uint8)
    return table.gather(2, values).view(images.shape)


#: By the names of mmpretrain's transforms.
KERNELS: Dict[str, Kernel] = dict(
    AutoContrast=auto_contrast,
    Brightness=brightness,
    ColorTransform=color,
    Contrast=contrast,
    Equalize=equalize,
    Invert=invert,
    Posterize=posterize,
    Sharpness=sharpness,
    Solarize=solarize,
    SolarizeAdd=solarize_add,
)


def blend(images: torch.Tensor, other: torch.Tensor, magnitude: np.ndarray) -> torch.Tensor:
    """``factor * images + (1 - factor) * other`` with ``factor = 1 + magnitude``, in float32.

    Rounds as ``cv2.addWeighted`` of OpenCV 5, which has a fused multiply-add in float32; here the
    product is in float64, where it is exact. OpenCV 4 rounds once more, which changes less than 1 %
    of the pixels.
    """
    factor = 1 + magnitude
    own = per_sample(factor.astype(np.float32).astype(np.float64), images)
    return (images * own).add_(other * per_sample((1 - factor).astype(np.float32), images)).float()


def gray(images: torch.Tensor) -> torch.Tensor:
    """Gray images (N, 1, H, W), integers in float32, rounded as ``cv2.cvtColor``."""
    # The sum is exact, as the weights are multiples of 2**-15.
    weights = to_device(GRAY_WEIGHTS, images)
    return (images * weights).sum(1, keepdim=True).add_(0.5).floor_()


def smooth(images: torch.Tensor) -> torch.Tensor:
    """Rounded mean, float32, of each pixel (weight 5) and its eight neighbours.

    Images are reflected at the border, so they must have at least 2 x 2 pixels.
    """
    values = images.float()
    padded = F.pad(values, (1, 1, 1, 1), 'reflect')
    rows = (padded[:, :, :-2] + padded[:, :, 1:-1]).add_(padded[:, :, 2:])
    total = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    return total.add_(values, alpha=4).div_(13).round_()
