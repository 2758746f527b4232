"""Each tool starts in a Python that has imported nothing before it."""

import ast
import sys

import pytest
from run import ROOT, run, succeeded

TOOLS = [
    *sorted(
        p for p in (ROOT / 'tools').rglob('*.py') if p.name != 'dist_run.py'
    ),  # the scripts' own
    *sorted((ROOT / 'projects').glob('*/plot_*.py')),
]


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.stem)
def test_it_says_what_it_does(path):
    about = ast.get_docstring(ast.parse(path.read_text())).split('\n')[0]
    text = succeeded(run(sys.executable, path, '--help'))
    assert text.startswith(f'usage: {path.name}')
    assert ' '.join(about.split()) in ' '.join(text.split())
