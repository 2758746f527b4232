"""Every switch together with DistributedDataParallel."""

import re
from pathlib import Path

from run import ROOT, run, succeeded


def test_all_switches_on_two_processes(tmp_path):
    script = Path(__file__).with_name('switches_two_processes.py')
    words = '--nproc-per-node=2', '--master-port=29642', script, tmp_path
    text = succeeded(run('torchrun', *words, PYTHONPATH=f'{ROOT}:{ROOT}/tests'))
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
