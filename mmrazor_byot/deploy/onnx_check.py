"""Does an exported network answer as torch does?"""

from typing import Iterator, Tuple

import numpy as np

from mmrazor_byot.errors import DeployError

from .deployed_network import DeployedNetwork
from .reference import Reference

#: How far a logit may be from torch's.
TOLERANCE = 1e-4
BATCH = 64


def check_logits(network: DeployedNetwork, reference: Reference) -> float:
    """Compare every way through the exported network with torch.

    Each exit is asked three ways: by the model cut there, stage by stage
    with every head, and stage by stage with its head alone; on one image and
    on batches.

    Args:
        network (DeployedNetwork): As exported.
        reference (Reference): Images, and torch's logits.

    Returns:
        float: The largest difference of a logit.

    Raises:
        DeployError: A difference above 1e-4, or another answer.
    """
    worst = 0.0
    for part in _parts(len(reference.images)):
        images, logits = reference.images[part], reference.logits[:, part]
        for number, way, found in ways(network, images):
            expected = logits[number - 1]
            where = f'exit {number}/{network.num_exits} {way}, batch of {len(images)}'
            worst = max(worst, _difference(found, expected, where))
    return worst


def ways(network: DeployedNetwork, images: np.ndarray) -> Iterator[Tuple[int, str, np.ndarray]]:
    """Every exit's logits on every way to them.

    Args:
        network (DeployedNetwork): As exported.
        images (np.ndarray): (N, H, W, 3) uint8 RGB.

    Yields:
        tuple: Exit 1 to C; the way, in words; logits (N, K).
    """
    read_all, trunks = (images,), (images,)
    for number in range(1, network.num_exits + 1):
        yield number, 'cut', network.exit_logits(number, images)
        _, alone = network.stage(number, trunks)
        yield number, 'staged, its head alone', alone
        trunks, _ = network.stage(number, trunks, read=False)
        read_all, logits = network.stage(number, read_all)
        yield number, 'staged', logits


def _parts(count: int) -> Iterator[slice]:
    yield slice(0, 1)
    for start in range(0, count, BATCH):
        yield slice(start, min(start + BATCH, count))


def _difference(found: np.ndarray, expected: np.ndarray, where: str) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        raise DeployError(
            f'{where}: the exported network gives logits '
            f'{found.shape} that are not those of torch, '
            f'{expected.shape}'
        )
    difference = float(np.abs(found - expected).max())
    if difference > TOLERANCE:
        raise DeployError(
            f'{where}: a logit of the exported network is '
            f"{difference:.3g} from torch's, more than "
            f'{TOLERANCE}; nothing was written'
        )
    others = int((found.argmax(1) != expected.argmax(1)).sum())
    if others:
        raise DeployError(
            f'{where}: the exported network answers otherwise '
            f'than torch on {others} of {len(found)} images; '
            'nothing was written'
        )
    return difference
