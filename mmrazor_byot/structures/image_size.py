"""The size of an image."""

from typing import Sequence, Tuple, Union

from mmrazor_byot.errors import ConfigError


def image_size(input_size: Union[int, Sequence[int]]) -> Tuple[int, int, int]:
    """Spell out the size of an image.

    Args:
        input_size (int | Sequence[int]): S, (H, W) or (C, H, W).

    Returns:
        tuple: (C, H, W); C is 3 where it is not given.

    Raises:
        ConfigError: It is none of the three.
    """
    size = (input_size,) if isinstance(input_size, int) else tuple(input_size)
    size = {1: (3, *size, *size), 2: (3, *size), 3: size}.get(len(size))
    if size is None or min(size) < 1:
        raise ConfigError(f'input_size={input_size}: give S, (H, W) or (C, H, W), all positive')
    return size
