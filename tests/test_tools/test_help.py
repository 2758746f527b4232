"""Each tool starts in a Python that has imported nothing of ours before it."""

import ast

import pytest
from run import ROOT, script, succeeded

TOOLS = [
    *(p for p in (ROOT / 'tools').rglob('*.py') if p.name != 'dist_run.py'),  # the scripts' own
    *(ROOT / 'projects').glob('*/plot_*.py'),
]


@pytest.mark.parametrize('path', sorted(TOOLS), ids=lambda path: path.stem)
def test_it_says_what_it_does(path):
    about = ast.get_docstring(ast.parse(path.read_text())).split('\n')[0]
    text = succeeded(script(path, '--help', fresh=True))
    assert text.startswith(f'usage: {path.name}')
    assert ' '.join(about.split()) in ' '.join(text.split())
