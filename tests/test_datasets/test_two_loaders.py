"""The Runner trains alike on single images and on batched data."""

import ast
from pathlib import Path

import pytest
from run import script, succeeded


@pytest.mark.parametrize(
    'ranks, shown',
    # 23 images, shared out to two: one of them is shown twice.
    [(None, 23), (2, 24)],
    ids=['1 process', '2 processes'],
)
def test_same_training(tmp_path, ranks, shown):
    path = Path(__file__).with_name('two_loaders.py')
    text = succeeded(script(path, tmp_path, ranks=ranks))
    (line,) = [s for s in text.splitlines() if s.startswith('FACTS ')]
    assert ast.literal_eval(line[6:]) == dict(
        order=True,
        shown=2 * shown,
        images=23,
        metrics=2,
        measured=['accuracy/top1', 'accuracy/top3'],
        weights=True,
        resumed=True,
        flipped=True,
    )
