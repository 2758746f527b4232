"""Exit heads are told the shapes that the built backbone shows."""

import inspect

from torch import nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS


def build_exit_head(cfg: dict, *shapes: int, **named: int) -> nn.Module:
    """Build an exit head of any registered type.

    Args:
        cfg (dict): Config of the head; it is not changed.
        *shapes, **named: See :func:`complete_exit_head`.

    Returns:
        nn.Module: Called with a feature map (N, C, H, W), it returns a feature (N, D) and logits
        (N, K).

    Raises:
        ConfigError: No such head is registered.
    """
    return MODELS.build(complete_exit_head(cfg, *shapes, **named))


def complete_exit_head(
    cfg: dict, in_channels: int, out_channels: int, num_classes: int, downsample: int
) -> dict:
    """Fill in what the config of an exit head leaves open.

    What the head's constructor asks for by name is filled in, unless the config says it:
    ``in_channels``, ``out_channels``, ``num_classes`` and ``downsample``, or MMRazor's
    ``in_channel`` and ``out_channel``.

    Args:
        cfg (dict): Config of the head; it is not changed.
        in_channels (int): Channels of the section's feature map.
        out_channels (int): Channels of the deepest feature, D.
        num_classes (int): Classes, K.
        downsample (int): How many times higher and wider the feature map is than the deepest one.

    Returns:
        dict: The config of the same head, all numbers given.

    Raises:
        ConfigError: No such head is registered.
    """
    head = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if head is None:
        raise ConfigError(
            f'exit_head: no model "{cfg["type"]}" is registered; write '
            '"mmrazor_byot.BottleneckHead" for ours, or import yours through custom_imports'
        )
    shapes = dict(
        in_channels=in_channels,
        in_channel=in_channels,
        out_channels=out_channels,
        out_channel=out_channels,
        num_classes=num_classes,
        downsample=downsample,
    )
    asked = inspect.signature(head).parameters
    return {
        **cfg,
        **{name: value for name, value in shapes.items() if name in asked and name not in cfg},
    }
