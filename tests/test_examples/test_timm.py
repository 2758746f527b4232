"""examples/timm_exits.py trains, calibrates and exports a network of timm."""

import re
import runpy

import numpy as np
from run import ROOT, script, succeeded
from sklearn.model_selection import train_test_split

from mmrazor_byot.runtime import EarlyExitModel

EXAMPLE = ROOT / 'examples/timm_exits.py'


def test_it_learns_and_its_file_has_the_accuracy_that_it_prints(tmp_path):
    said = succeeded(script(EXAMPLE, '--epochs', '4', '--out', tmp_path / 'digits.onnx'))
    accuracy = re.search(r'^\| accuracy \(%\) +\|(.*)\|$', said, re.M)[1]
    shallow, *_, deepest = map(float, accuracy.split('|'))
    assert deepest > 80 and shallow > 40  # 10 is a random guess
    assert len(re.findall(r'^\d \([\d.]+ %\), left at exit [1-4]/4', said, re.M)) == 3
    images, labels = runpy.run_path(str(EXAMPLE))['digits']()
    test = train_test_split(range(len(labels)), train_size=960, random_state=0)[1][300:]
    scores, *_ = EarlyExitModel(tmp_path / 'digits.onnx', threads=1)(images[test])
    found = 100 * np.mean(scores.argmax(1) == labels[test])
    assert re.search(r'^\w+Policy +[\d.]+ +([\d.]+)$', said, re.M)[1] == f'{found:.2f}'
