"""Changes of tone, by tables of which some depend on the image."""

from typing import Optional

import torch
import torch.nn.functional as F

from .blend import blend, grey


def histograms(values: torch.Tensor) -> torch.Tensor:
    """Count the values of each channel.

    Args:
        values (torch.Tensor): From 0 to 255, int64 (N, C, H * W).

    Returns:
        torch.Tensor: Whole numbers, float32 (N, C, 256).
    """
    counts = torch.zeros(*values.shape[:2], 256, device=values.device)
    # One that is expanded would take twice the time.
    ones = torch.ones(values.shape, device=values.device)
    return counts.scatter_add_(2, values, ones)


def autocontrast_tables(images: torch.Tensor) -> torch.Tensor:
    """Stretch each channel to 0 ... 255, as ``mmcv.auto_contrast``.

    Args:
        images (torch.Tensor): uint8 (N, C, H, W).

    Returns:
        torch.Tensor: uint8 (N, C, 256).
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

    Args:
        values (torch.Tensor): From 0 to 255, int64 (N, C, H * W); below
            2**24 a channel.

    Returns:
        torch.Tensor: uint8 (N, C, 256).
    """
    counts, pixels = histograms(values), values.size(2)
    # Of integers: torch has no deterministic sum of floats on a GPU.
    total = counts.cumsum(2, dtype=torch.int32)
    # The least of what stands above a value is the count of the highest one.
    last = F.threshold_(pixels - total, 0, pixels).amin(2, keepdim=True)
    step = ((pixels - last) / 255).floor_()
    half = (step / 2).floor_()
    # Whole numbers below 2**24: rounding a quotient does not make it whole.
    table = (total - counts).add_(half).div_(step).floor_().clamp_(max=255)
    greys = torch.arange(256.0, device=values.device)
    return torch.where(step.bool(), table, greys).to(torch.uint8)


def contrast_tables(
    images: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Blend with the mean grey, as ``mmcv.adjust_contrast``.

    Args:
        images (torch.Tensor): uint8 (N, 3, H, W).
        alpha (torch.Tensor): See :func:`~.blend.blend_weights`.
        beta (torch.Tensor): Likewise.
        weights (torch.Tensor): See :func:`~.blend.grey`.

    Returns:
        torch.Tensor: uint8 (N, 3, 256), the same for all channels.
    """
    n, channels, height, width = images.shape
    total = grey(images, weights).sum((1, 2, 3), True, dtype=torch.float64)
    mean = total.div_(height * width).round_().float()
    greys = torch.arange(256.0, dtype=alpha.dtype, device=images.device)
    table = blend(greys, alpha, mean, beta).clamp_(0, 255).to(torch.uint8)
    return table[:, 0].expand(n, channels, 256)


def change_tone(
    images: torch.Tensor,
    tables: torch.Tensor,
    autocontrast: int,
    alpha: Optional[torch.Tensor] = None,
    beta: Optional[torch.Tensor] = None,
    weights: Optional[torch.Tensor] = None,
) -> torch.Tensor:
    """Change the tone of images sorted by operation.

    Args:
        images (torch.Tensor): uint8 (N, 3, H, W): first the T with a table,
            then the B to change the contrast of, then those to stretch, then
            those to equalize.
        tables (torch.Tensor): uint8 (T, 1, 256), see :mod:`.tone`.
        autocontrast (int): How many to stretch.
        alpha (torch.Tensor, optional): See :func:`contrast_tables`, B of
            them.
        beta (torch.Tensor, optional): Likewise.
        weights (torch.Tensor, optional): Likewise.

    Returns:
        torch.Tensor: uint8 (N, 3, H, W).
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
