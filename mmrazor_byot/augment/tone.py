"""Tone: operations that give each grey value another one, by tables.

Each function makes one table of 256 entries an image, (N, 256), on the CPU,
from what was drawn for the images. Those of :mod:`.histogram` need the
images too.
"""

import numpy as np

from .ops import Work

GREYS = np.arange(256)


def invert(magnitude: np.ndarray, threshold=None) -> np.ndarray:
    """Negative."""
    return np.broadcast_to(255 - GREYS, (len(magnitude), 256))


def solarize(magnitude: np.ndarray, threshold=None) -> np.ndarray:
    """Negative from the magnitude (N,) on."""
    return np.where(magnitude[:, None] > GREYS, GREYS, 255 - GREYS)


def solarize_add(magnitude: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Add the magnitude (N,) to what is below a threshold (N,)."""
    added = np.clip(GREYS + magnitude[:, None], 0, 255)
    return np.where(threshold[:, None] > GREYS, added, GREYS)


def posterize(magnitude: np.ndarray, threshold=None) -> np.ndarray:
    """Keep the upper bits (N,), rounded up to whole ones."""
    shift = 8 - np.ceil(magnitude).astype(np.int64)[:, None]
    return GREYS >> shift << shift


def brightness(magnitude: np.ndarray, threshold=None) -> np.ndarray:
    """Multiply by 1 + magnitude (N,)."""
    factor = (1 + magnitude).astype(np.float32)[:, None]
    return np.clip(factor * GREYS.astype(np.float32), 0, 255)


#: Which makes the tables of which work.
TABLES = {
    Work.INVERT: invert,
    Work.SOLARIZE: solarize,
    Work.SOLARIZE_ADD: solarize_add,
    Work.POSTERIZE: posterize,
    Work.BRIGHTNESS: brightness,
}
