"""8 x 16 and 1 x 128 are the same recipe: losses are means over samples."""

import re
from pathlib import Path

from run import script, succeeded


def test_gradients_do_not_depend_on_how_the_batch_is_shared():
    text = succeeded(script(Path(__file__).with_name('two_processes.py'), ranks=2))
    worst, largest = map(
        float, re.search(r'2 processes, worst (\S+), largest (\S+)', text).groups()
    )
    assert worst < 1e-5
    assert largest > 1e-2  # there was something to differ by
