"""Images for the comparison of methods, and what runs a benchmark."""

import json

import cv2
import numpy as np
import pytest
from run import ROOT, script, succeeded

from mmrazor_byot.datasets.packed_images import pack_images


@pytest.fixture
def images(tmp_path):
    """A packed file of twenty classes, each of four grays."""
    grays = [
        np.full((32, 32, 3), 12 * label + i, np.uint8) for i in range(4) for label in range(20)
    ]
    encoded = [cv2.imencode('.png', gray)[1].tobytes() for gray in grays]
    half = (encoded, [*range(20)] * 4)
    pack_images(str(tmp_path / 'set.npz'), list('abcdefghijklmnopqrst'), train=half, test=half)
    return str(tmp_path / 'set.npz')


@pytest.fixture
def benchmark(tmp_path):
    """Runs benchmarks/NAME.py; what it printed, and its result."""

    def benchmark(name, *arguments, **env):
        path = ROOT / f'benchmarks/{name}.py'
        text = succeeded(script(path, *arguments, '--out', tmp_path, **env))
        (result,) = tmp_path.glob('*.json')
        assert f'written to {result}' in text
        return text, json.loads(result.read_text())

    return benchmark
