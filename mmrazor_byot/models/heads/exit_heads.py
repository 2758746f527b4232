"""The exit heads of :mod:`mmrazor_byot.exits`, for configs."""

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.exits import BottleneckHead, StridedHead
from mmrazor_byot.exits.heads import fitting_shapes
from mmrazor_byot.registry import MODELS

for head_type in (BottleneckHead, StridedHead):
    MODELS.register_module(module=head_type)


def complete_exit_head(
    cfg: dict, in_channels: int, out_channels: int, num_classes: int, downsample: int
) -> dict:
    """Fill in the shapes that the constructor of an exit head takes and its config does not set.

    They are those of :class:`BottleneckHead`. ConfigError if the type is not registered.
    """
    head = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if head is None:
        raise ConfigError(
            f'exit_head: no model "{cfg["type"]}" is registered; write '
            '"mmrazor_byot.BottleneckHead" for ours, or import yours through custom_imports'
        )
    shapes = fitting_shapes(head, in_channels, out_channels, num_classes, downsample)
    return {**shapes, **cfg}
