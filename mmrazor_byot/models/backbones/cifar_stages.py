"""The arithmetic of CIFAR networks: three stages of n equal blocks."""

from collections.abc import Sequence

NUM_STAGES = 3


def blocks_per_stage(name: str, depth: int, convs: int, offsets: Sequence[int]) -> int:
    """Read the number of blocks in a stage off a network's depth.

    Args:
        name (str): The network, for the error message.
        depth (int): Depth, ``3 * convs * n + offset``.
        convs (int): Convolutions on the main path of one block.
        offsets (Sequence[int]): Layers outside the blocks; one for each way of counting that is
            accepted.

    Returns:
        int: ``n``, at least 1.

    Raises:
        ValueError: If no offset gives a whole ``n``.
    """
    per_n = NUM_STAGES * convs
    for offset in offsets:
        n, rest = divmod(depth - offset, per_n)
        if n >= 1 and rest == 0:
            return n
    rules = ' or '.join(
        f'{per_n}n + {k} ({per_n + k}, {2 * per_n + k}, {3 * per_n + k}, ...)' for k in offsets
    )
    raise ValueError(f'{name} takes depths {rules}, got {depth}')


def check_stages(out_indices: Sequence[int], frozen_stages: int) -> None:
    """Refuse stage numbers that the network does not have.

    Args:
        out_indices (Sequence[int]): Stages to return, from 0.
        frozen_stages (int): Stages to freeze, -1 for none.

    Raises:
        ValueError: If a number is out of range, or nothing is returned.
    """
    if not out_indices or any(i not in range(NUM_STAGES) for i in out_indices):
        raise ValueError(
            f'out_indices must hold one or more of the stages 0, 1, 2, got {out_indices}'
        )
    if frozen_stages not in range(-1, NUM_STAGES + 1):
        raise ValueError(f'frozen_stages must be from -1 (none) to 3 (all), got {frozen_stages}')
