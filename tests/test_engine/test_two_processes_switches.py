"""Every switch together with DistributedDataParallel."""

import re
from pathlib import Path

from run import ROOT, script, succeeded


def test_all_switches_on_two_processes(tmp_path):
    path = Path(__file__).with_name('switches_two_processes.py')
    text = succeeded(script(path, tmp_path, ranks=2, PYTHONPATH=f'{ROOT}:{ROOT}/tests'))
    number = r'([\d.e+-]+)'
    found = re.search(
        rf'2 processes, switched {number}, resumed {number}, stride warnings '
        rf'{number}, losses \[{number}, {number}\], moved {number}',
        text,
    )
    switched, resumed, strides, loss, half, moved = map(float, found.groups())
    assert switched < 1e-5
    assert resumed == 0
    assert strides == 0
    assert half != loss and abs(half / loss - 1) < 0.03
    assert moved > 1e-3  # there was something to differ by
