"""docs/how_to.md, typed as it is into a folder of a user."""

import re
import sys

import cv2
import numpy as np
from run import ROOT, exits, free_port, log, run, succeeded

PAGE = (ROOT / 'docs/how_to.md').read_text()


def test_bring_your_own(tmp_path):
    files = re.findall(r'`(mine/\w+\.py)`:\n\n```python\n(.*?)```', PAGE, re.S)
    assert [name for name, _ in files] == ['mine/parts.py', 'mine/data.py', 'mine/recipe.py']
    for name, text in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    random = np.random.default_rng(0)
    for image in re.findall(r'^    (mine/photos/\S+)', PAGE, re.M):
        shade = 60 if 'cat' in image else 190
        folder = (tmp_path / image).parent
        folder.mkdir(parents=True)
        for i in range(26):  # 50 are needed to calibrate
            noise = random.normal(shade, 20, (72, 80, 3)).clip(0, 255)
            cv2.imwrite(str(folder / f'{i:04}.jpg'), noise.astype(np.uint8))
    train, *commands = re.findall(r'^    ((?:sh|python) .*)$', PAGE, re.M)
    words = train.replace('tools/', f'{ROOT}/tools/').split()
    succeeded(run(*words, cwd=tmp_path, PORT=free_port()))
    assert 'exit2.hint_loss' in log(tmp_path / 'work_dirs/recipe')
    rows = exits(tmp_path / 'work_dirs/recipe')
    assert [row['exit'] for row in rows] == ['1/3', '2/3', '3/3', 'ensemble']
    assert rows[2]['top1'] > 50  # black cats and white dogs
    # PoolHead: projection 32 -> 128 and fc 128 -> 2, after the 3 -> 32 convolution.
    assert rows[0]['params'] == (32 * 128 + 128) + (128 * 2 + 2) + (3 * 9 * 32 + 32) + 2 * 32
    for command in commands:
        words = command.replace(' tools/', f' {ROOT}/tools/').split()[1:]
        shown = succeeded(run(sys.executable, *words, cwd=tmp_path))
    assert len(re.findall(r'/3 ', shown)) == 52 and 'cat' in shown and 'dog' in shown
