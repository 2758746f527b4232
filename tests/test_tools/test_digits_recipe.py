"""The README's first command, as it stands."""

import re
import time

from run import DIGITS, ROOT, exits, succeeded, tool


def test_digits_recipe_end_to_end(tmp_path):
    readme = (ROOT / 'README.md').read_text()
    command = re.search(r'^.*-e \. && sh (tools/\S+) (\S+) (\d+)$', readme, re.M)
    assert ROOT / command.group(2) == DIGITS
    start = time.monotonic()
    text = succeeded(
        tool(
            'dist_train.sh',
            command.group(2),
            command.group(3),
            '--work-dir',
            tmp_path,
            PORT='29631',
        )
    )
    print(f'{time.monotonic() - start:.0f} s')
    rows = {row['exit']: row for row in exits(tmp_path)}
    assert rows['4/4']['top1'] >= 98
    assert rows['1/4']['top1'] >= 90
    assert rows['ensemble']['top1'] >= 98
    assert (tmp_path / 'last_checkpoint').exists()
    assert '| top-1 (%)  |' in text
