"""The Runner trains alike on single images and on whole batches."""

import ast
import sys
from pathlib import Path

import pytest
from run import run, succeeded

SCRIPT = Path(__file__).with_name('two_loaders.py')


@pytest.mark.parametrize(
    'command, shown',
    [
        ((sys.executable,), 23),
        # 23 images, shared out to two: one of them is shown twice.
        (('torchrun', '--nproc-per-node=2', '--master-port=29643'), 24),
    ],
    ids=['1 process', '2 processes'],
)
def test_same_training(tmp_path, command, shown):
    text = succeeded(run(*command, SCRIPT, tmp_path, OMP_NUM_THREADS='1'))
    (line,) = [s for s in text.splitlines() if s.startswith('FACTS ')]
    assert ast.literal_eval(line[6:]) == dict(
        order=True,
        shown=3 * shown,
        images=23,
        metrics=3,
        measured=['accuracy/top1', 'accuracy/top3'],
        weights=True,
        resumed=True,
        flipped=True,
    )
