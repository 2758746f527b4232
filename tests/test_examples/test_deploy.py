"""An exported file in other runtimes, and the programs of examples/deploy."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, NamedTuple

import numpy as np
import openvino
import pytest
from PIL import Image
from run import ROOT, run, succeeded

from mmrazor_byot.early_exit import ConfidencePolicy
from mmrazor_byot.export.graph import early_exit_graph
from mmrazor_byot.export.quantize import quantize_stages
from mmrazor_byot.export.write_export import write_model
from mmrazor_byot.runtime import EarlyExitModel

EXAMPLES = ROOT / 'examples/deploy'


class Expected(NamedTuple):
    """A file and what our runtime answers to 100 digits, some of which stop at every exit."""

    path: Path
    thresholds: List[float]
    scores: np.ndarray
    exits: np.ndarray


def answer(path: Path, images: np.ndarray) -> Expected:
    """Thresholds are in the middle of the widest gap of scores: no rounding moves an image."""
    model, thresholds = EarlyExitModel(path), []
    for k in range(3):
        scores, exits, _ = model(images, [*thresholds, 0, 0, 0][:3])
        found = np.sort(scores.max(1)[exits == k + 1])
        found = found[len(found) // 4 : len(found) * 3 // 4 + 1]
        gap = np.diff(np.log(1 - found)).argmin()
        thresholds.append(float(found[gap : gap + 2].mean()))
    scores, exits, _ = model(images, thresholds)
    assert set(exits) == {1, 2, 3, 4}
    return Expected(path, thresholds, scores, exits)


@pytest.fixture(scope='module')
def images(digits_images) -> np.ndarray:
    return digits_images[0][:100]


@pytest.fixture(scope='module')
def fp32(exported, images) -> Expected:
    return answer(exported, images)


@pytest.fixture(scope='module')
def int8(exported, digits_stages, images, tmp_path_factory) -> Expected:
    path = tmp_path_factory.mktemp('int8') / 'int8.onnx'
    graph = early_exit_graph(quantize_stages(digits_stages, images), ConfidencePolicy(0.95))
    write_model(
        path, graph, dataclasses.replace(EarlyExitModel(exported).metadata, precision='int8')
    )
    return answer(path, images)


@pytest.fixture(params=['fp32', 'int8'])
def expected(request) -> Expected:
    return request.getfixturevalue(request.param)


def in_openvino(path: Path):
    """Gives scores and exits; fp32 on processors that have bfloat16, too."""
    network = openvino.Core().compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})

    def classify(images, thresholds):
        answers = network(dict(image=images, thresholds=np.array(thresholds, np.float32)))
        return answers['scores'].copy(), answers['exits'].copy()

    return classify


def test_openvino(fp32, images):
    network = in_openvino(fp32.path)
    scores, exits = network(images, fp32.thresholds)
    np.testing.assert_array_equal(exits, fp32.exits)
    np.testing.assert_allclose(scores, fp32.scores, atol=1e-4)
    for i in range(len(images)):
        scores, exits = network(images[i : i + 1], fp32.thresholds)
        assert exits == fp32.exits[i]
        np.testing.assert_allclose(scores, fp32.scores[i : i + 1], atol=1e-4)


def test_openvino_in_8_bits(int8, images):
    """It rounds elsewhere than ONNX Runtime: exits are those that its own scores ask for."""
    network, model = in_openvino(int8.path), EarlyExitModel(int8.path)
    due = np.full(len(images), 4)
    for exit_number in (4, 3, 2, 1):
        thresholds = model.stop_at(exit_number)
        scores, _ = network(images, thresholds)
        np.testing.assert_allclose(scores, model(images, thresholds).scores, atol=0.1)
        if exit_number < 4:
            due[scores.max(1) >= np.float32(int8.thresholds[exit_number - 1])] = exit_number
    scores, exits = network(images, int8.thresholds)
    np.testing.assert_array_equal(exits, due)
    assert (exits == int8.exits).mean() >= 0.9
    np.testing.assert_array_equal(scores.argmax(1), int8.scores.argmax(1))
    alone = [network(images[i : i + 1], int8.thresholds)[1][0] for i in range(len(images))]
    np.testing.assert_array_equal(alone, exits)


def check_program(command: list, expected: Expected, images: np.ndarray, folder: Path) -> None:
    """Run a program that reads pixels, and compare the three numbers of each line."""
    pixels = folder / 'pixels.bin'
    images.tofile(pixels)
    with open(pixels, 'rb') as stdin:
        done = subprocess.run(
            [*command, expected.path, *map(str, expected.thresholds)],
            stdin=stdin,
            capture_output=True,
            cwd=folder,
            text=True,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    labels, scores, exits = np.array([line.split() for line in done.stdout.splitlines()], float).T
    np.testing.assert_array_equal(labels, expected.scores.argmax(1))
    np.testing.assert_allclose(scores, expected.scores.max(1), atol=1e-4)
    np.testing.assert_array_equal(exits, expected.exits)


@pytest.mark.skipif(
    not (shutil.which('node') and os.environ.get('NODE_MODULES')),
    reason='needs node, and NODE_MODULES: the node_modules folder with onnxruntime-web',
)
def test_javascript(expected, images, tmp_path):
    shutil.copy(EXAMPLES / 'run.mjs', tmp_path)
    (tmp_path / 'node_modules').symlink_to(os.environ['NODE_MODULES'])
    check_program(['node', 'run.mjs'], expected, images, tmp_path)


@pytest.mark.parametrize('exit_number', [1, 2, 3, 4])
def test_python(fp32, images, tmp_path, exit_number):
    i = np.flatnonzero(fp32.exits == exit_number)[0]
    Image.fromarray(images[i]).save(tmp_path / 'digit.png')
    command = sys.executable, EXAMPLES / 'run.py', fp32.path, tmp_path / 'digit.png'
    for thresholds in (fp32.thresholds, None):  # without any those of the file
        scores, exits, _ = EarlyExitModel(fp32.path)(images[i : i + 1], thresholds)
        name, score, number = succeeded(run(*command, *(thresholds or []))).split()
        assert (name, int(number)) == (str(scores.argmax()), exits[0])
        assert float(score) == pytest.approx(scores.max(), abs=1e-4)


def compiler_flags() -> list:
    """Those of ONNX Runtime's C++ package; empty if it is not installed."""
    try:
        done = run('pkg-config', '--cflags', '--libs', 'libonnxruntime')
    except FileNotFoundError:
        return []
    return done.stdout.split()


@pytest.mark.skipif(
    not (shutil.which('g++') and compiler_flags()),
    reason="needs g++, pkg-config and ONNX Runtime's C++ package",
)
def test_cpp(fp32, images, tmp_path):
    command = 'g++', '-std=c++17', EXAMPLES / 'run.cpp', '-o', tmp_path / 'run'
    succeeded(run(*command, *compiler_flags()))
    check_program([tmp_path / 'run'], fp32, images, tmp_path)
