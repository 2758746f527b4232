"""Tone and colour: each image's grey values by a table, or a blend with another image.

A table has 256 entries; some depend on the drawn magnitude alone and are made on the CPU, those of
contrast, autocontrast and equalize on the image too.
"""

from functools import partial
from typing import Dict, Optional

import numpy as np
import torch
import torch.nn.functional as F

from .base import OpGroup, Step

#: Weights of the channels in a grey value, OpenCV's. Shape (3, 1, 1).
GREY_WEIGHTS = {
    order: np.float32(weights).reshape(3, 1, 1) / 2**15
    for order, weights in (('bgr', (3735, 19235, 9798)), ('rgb', (9798, 19235, 3735)))
}
GREYS = np.arange(256)


def invert(magnitude: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Negative."""
    return np.broadcast_to(255 - GREYS, (len(magnitude), 256))


def solarize(magnitude: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Negative from the magnitude (N, 1) on."""
    return np.where(magnitude > GREYS, GREYS, 255 - GREYS)


def solarize_add(magnitude: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Add the magnitude (N, 1) to what is below a threshold (N, 1)."""
    return np.where(threshold > GREYS, np.clip(GREYS + magnitude, 0, 255), GREYS)


def posterize(magnitude: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Keep the upper bits (N, 1), rounded up to whole ones."""
    shift = 8 - np.ceil(magnitude).astype(np.int64)
    return GREYS >> shift << shift


def brightness(magnitude: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Multiply by 1 + magnitude (N, 1)."""
    factor = (1 + magnitude).astype(np.float32)
    return np.clip(factor * GREYS.astype(np.float32), 0, 255)


#: What makes the tables, (N, 256), of operations that depend on the draw alone.
TABLES = dict(
    Invert=invert,
    Solarize=solarize,
    SolarizeAdd=solarize_add,
    Posterize=posterize,
    Brightness=brightness,
)
#: Operations by tables, in the order of the images that :func:`change_tone` takes.
TABLE_OPS = (*TABLES, 'Contrast', 'AutoContrast', 'Equalize')


def table_step(group: OpGroup) -> Step:
    """Operations :data:`TABLE_OPS`, all at once; their setting is a threshold."""
    drawn = np.stack([group.magnitude, group.params[:, 0]])[..., None]
    parts = np.split(drawn, np.cumsum(group.counts)[:-1], axis=1)
    tables = [np.empty((0, 256), np.uint8)]
    tables += [make(*p).astype(np.uint8) for make, p in zip(TABLES.values(), parts) if p.size]
    draws = dict(tables=np.concatenate(tables)[:, None])
    counts = dict(zip(TABLE_OPS, group.counts))
    if counts['Contrast']:
        draws.update(blend_weights(parts[len(TABLES)][0]), weights=group.grey_weights)
    return Step(partial(change_tone, autocontrast=counts['AutoContrast']), draws)


def color_step(group: OpGroup) -> Step:
    """``ColorTransform``."""
    return Step(adjust_color, dict(blend_weights(group.magnitude), weights=group.grey_weights))


def sharpness_step(group: OpGroup) -> Step:
    """``Sharpness``."""
    return Step(adjust_sharpness, blend_weights(group.magnitude))


def change_tone(
    images: torch.Tensor,
    tables: torch.Tensor,
    autocontrast: int,
    alpha: Optional[torch.Tensor] = None,
    beta: Optional[torch.Tensor] = None,
    weights: Optional[torch.Tensor] = None,
) -> torch.Tensor:
    """Change the tone of images, uint8 (N, 3, H, W), sorted by operation.

    First the T with a table, uint8 (T, 1, 256), then those to change the contrast of, one for each
    ``alpha``, then as many as ``autocontrast`` says, then those to equalize.
    """
    values = images.flatten(2).long()
    made, done = [tables.expand(-1, 3, -1)], len(tables)
    if alpha is not None:
        part = images[done : done + len(alpha)]
        made.append(contrast_tables(part, alpha, beta, weights))
        done += len(alpha)
    if autocontrast:
        made.append(autocontrast_tables(images[done : done + autocontrast]))
        done += autocontrast
    if done < len(images):
        made.append(equalize_tables(values[done:]))
    return torch.cat(made).gather(2, values).view(images.shape)


def contrast_tables(
    images: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Blend with the mean grey, as ``mmcv.adjust_contrast``.

    Tables of images (N, 3, H, W), uint8 (N, 3, 256), the same for all channels.
    """
    n, channels, height, width = images.shape
    total = grey(images, weights).sum((1, 2, 3), True, dtype=torch.float64)
    mean = total.div_(height * width).round_().float()
    greys = torch.arange(256.0, dtype=alpha.dtype, device=images.device)
    table = blend(greys, alpha, mean, beta).clamp_(0, 255).to(torch.uint8)
    return table[:, 0].expand(n, channels, 256)


def autocontrast_tables(images: torch.Tensor) -> torch.Tensor:
    """Stretch each channel to 0 ... 255, as ``mmcv.auto_contrast``.

    Tables of images (N, C, H, W), uint8 (N, C, 256).
    """
    greys = torch.arange(256.0, dtype=torch.float64, device=images.device)
    pixels = images.flatten(2)
    low = pixels.amin(2, keepdim=True)
    span = pixels.amax(2, keepdim=True).sub_(low)
    # A channel of one value stays: a span of 255 from 0.
    flat = span.logical_not()
    scale = greys[255:] / span.masked_fill_(flat, 255)
    offset = low.masked_fill_(flat, 0) * scale
    return (greys * scale).sub_(offset).clamp_(0, 255).to(torch.uint8)


def equalize_tables(values: torch.Tensor) -> torch.Tensor:
    """Make each channel's values evenly frequent, as ``mmcv.imequalize``.

    Tables of values from 0 to 255, int64 (N, C, H * W), below 2**24 a channel.
    """
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
    return torch.where(step.bool(), table, greys).to(torch.uint8)


def adjust_color(
    images: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Blend images, uint8 (N, 3, H, W), with their grey, as ``mmcv.adjust_color``."""
    mixed = blend(images, alpha, grey(images, weights), beta)
    return mixed.round_().clamp_(0, 255).to(torch.uint8)


def adjust_sharpness(images: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Blend images, uint8, 2 x 2 at least, smoothed, as ``mmcv.adjust_sharpness``."""
    mixed = blend(images, alpha, smooth(images), beta)
    return mixed.clamp_(0, 255).to(torch.uint8)


def blend_weights(magnitude: np.ndarray) -> Dict[str, np.ndarray]:
    """Weights (N, 1, 1, 1) for 1 + magnitude (N) of an image and the rest of another.

    They are ``alpha`` and ``beta`` for :func:`blend`.
    """
    factor = (1 + magnitude).reshape(-1, 1, 1, 1)
    return dict(
        alpha=factor.astype(np.float32).astype(np.float64), beta=(1 - factor).astype(np.float32)
    )


def blend(
    a: torch.Tensor, alpha: torch.Tensor, b: torch.Tensor, beta: torch.Tensor
) -> torch.Tensor:
    """``alpha a + beta b``, float32, rounded where ``cv2.addWeighted`` rounds.

    OpenCV 5 has a fused multiply-add in float32; the product of two float32 is exact in float64.
    (OpenCV 4 rounds once more: less than 1 % of the values become another whole number.)

    Args:
        a (torch.Tensor): Whole numbers below 2**24, any shape.
        alpha (torch.Tensor): float64 of float32 precision, to broadcast.
        b (torch.Tensor): float32, to broadcast.
        beta (torch.Tensor): float32, to broadcast.
    """
    return (a * alpha).add_(b * beta).float()


def grey(images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Grey images (N, 1, H, W), whole numbers in float32, as ``cv2.cvtColor`` rounds."""
    # No rounding before the last: the weights are multiples of 2**-15.
    return (images * weights).sum(1, keepdim=True).add_(0.5).floor_()


def smooth(images: torch.Tensor) -> torch.Tensor:
    """Mean of a pixel (weight 5) and its eight neighbours, rounded, in float32.

    The images, uint8 (N, C, H, W), are mirrored at the border.
    """
    values = images.float()
    wide = F.pad(values, (1, 1, 1, 1), 'reflect')
    rows = (wide[:, :, :-2] + wide[:, :, 1:-1]).add_(wide[:, :, 2:])
    total = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    return total.add_(values, alpha=4).div_(13).round_()
