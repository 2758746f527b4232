"""Figures and numbers, written side by side."""

import json
import math
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.visualization.figures import json_ready, output_folder, short_name, write_results


def test_results_are_plain_json(tmp_path, capsys):
    found = dict(
        a=np.array([[1.0, math.nan]]),
        b=np.float32(0.5),
        c=(1, math.inf),
        d=None,
        e='text',
        f=np.int64(3),
    )
    expected = dict(a=[[1, None]], b=0.5, c=[1, None], d=None, e='text', f=3)
    assert json_ready(found) == expected
    folder = output_folder(str(tmp_path / 'new/folder'))
    figure = Figure(figsize=(1, 1))
    write_results(folder, dict(x=figure), 'x', found)
    assert json.loads((folder / 'x.json').read_text()) == expected
    names = [f'x.{ending}' for ending in ('png', 'svg', 'json')]
    assert capsys.readouterr().out.split() == [str(folder / n) for n in names]
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)
    shutil.rmtree(folder)
    folder.touch()
    with pytest.raises(ConfigError, match='it is a file, not a folder'):
        output_folder(str(folder))


def test_short_names():
    assert short_name('great white shark, man-eater') == 'great white s…'
    assert short_name('great white shark', 18) == 'great white shark'
