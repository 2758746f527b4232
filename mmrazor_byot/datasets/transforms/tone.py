"""Tone and colour, each image with its own magnitude.

The functions take images, uint8 (N, 3, H, W), the magnitudes (N,) and the settings (N, P) of their
operations, and return new images.
"""

import numpy as np
import torch
import torch.nn.functional as F

from .base import one_each, to_device

#: Weights of the channels in a grey value, OpenCV's for BGR. MMCV takes all images for BGR.
GREY_WEIGHTS = np.float32([3735, 19235, 9798]).reshape(3, 1, 1) / 2**15


def invert(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Negative."""
    return 255 - images


def solarize(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Negative from the magnitude on."""
    return torch.where(images < one_each(magnitude, images), images, 255 - images)


def solarize_add(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Add the magnitude to what is below a threshold, the only setting."""
    added = (images + one_each(magnitude, images)).clamp_(0, 255).to(torch.uint8)
    return torch.where(images < one_each(params[:, 0], images), added, images)


def posterize(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Keep the upper bits, the magnitude rounded up."""
    low_bits = 8 - np.ceil(magnitude).astype(np.int64)
    return images & one_each((255 << low_bits).astype(np.uint8), images)


def brightness(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Multiply by 1 + magnitude."""
    factor = one_each(np.float32(1 + magnitude), images)
    return (images * factor).clamp_(0, 255).to(torch.uint8)


def contrast(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Blend with the mean grey, as ``mmcv.adjust_contrast``."""
    mean = grey(images).mean((1, 2, 3), True, dtype=torch.float64).round_().float()
    return blend(images, mean, magnitude).clamp_(0, 255).to(torch.uint8)


def color(images: torch.Tensor, magnitude: np.ndarray, params: np.ndarray) -> torch.Tensor:
    """Blend with the grey image, as ``mmcv.adjust_color``."""
    mixed = blend(images, grey(images), magnitude)
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
    """Make each channel's values evenly frequent, as ``mmcv.imequalize``; 2**24 pixels at most."""
    values = images.flatten(2).long()
    pixels = values.size(2)
    counts = torch.zeros(*values.shape[:2], 256, device=values.device)
    # Ones that are expanded would take twice the time.
    counts.scatter_add_(2, values, torch.ones(values.shape, device=values.device))
    # Of integers: torch has no deterministic sum of floats on a GPU.
    total = counts.cumsum(2, dtype=torch.int32)
    # The least of what is above a value is the count of the highest one.
    last = F.threshold_(pixels - total, 0, pixels).amin(2, keepdim=True)
    step = ((pixels - last) / 255).floor_()
    half = (step / 2).floor_()
    # Whole numbers below 2**24: rounding a quotient does not make it whole.
    table = (total - counts).add_(half).div_(step).floor_().clamp_(max=255)
    greys = torch.arange(256.0, device=values.device)
    table = torch.where(step.bool(), table, greys).to(torch.uint8)
    return table.gather(2, values).view(images.shape)


#: mmpretrain's names for them.
OPS = dict(
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

    Rounded where ``cv2.addWeighted`` rounds: OpenCV 5 has a fused multiply-add in float32, and the
    product of two float32 is exact in float64. (OpenCV 4 rounds once more: less than 1 % of the
    values become another whole number.)

    Args:
        images (torch.Tensor): uint8 (N, 3, H, W).
        other (torch.Tensor): float32, to broadcast.
        magnitude (np.ndarray): (N,).
    """
    factor = 1 + magnitude
    own = one_each(factor.astype(np.float32).astype(np.float64), images)
    return (images * own).add_(other * one_each((1 - factor).astype(np.float32), images)).float()


def grey(images: torch.Tensor) -> torch.Tensor:
    """Grey images (N, 1, H, W), whole numbers in float32, as ``cv2.cvtColor`` rounds."""
    # No rounding before the last: the weights are multiples of 2**-15.
    weights = to_device(GREY_WEIGHTS, images)
    return (images * weights).sum(1, keepdim=True).add_(0.5).floor_()


def smooth(images: torch.Tensor) -> torch.Tensor:
    """Mean of a pixel (weight 5) and its eight neighbours, rounded, in float32.

    The images are mirrored at the border, so they are 2 x 2 at least.
    """
    values = images.float()
    wide = F.pad(values, (1, 1, 1, 1), 'reflect')
    rows = (wide[:, :, :-2] + wide[:, :, 1:-1]).add_(wide[:, :, 2:])
    total = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    return total.add_(values, alpha=4).div_(13).round_()
