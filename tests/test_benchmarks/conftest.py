"""Images for the comparison of methods."""

import cv2
import numpy as np
import pytest

from mmrazor_byot.datasets.packed_images import pack_images


@pytest.fixture
def images(tmp_path):
    """A packed file of twenty classes, each of four greys."""
    greys = [
        np.full((32, 32, 3), 12 * label + i, np.uint8) for i in range(4) for label in range(20)
    ]
    encoded = [cv2.imencode('.png', grey)[1].tobytes() for grey in greys]
    half = (encoded, [*range(20)] * 4)
    pack_images(str(tmp_path / 'set.npz'), list('abcdefghijklmnopqrst'), train=half, test=half)
    return str(tmp_path / 'set.npz')
