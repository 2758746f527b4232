"""Each tool starts in a Python that has imported nothing before it."""
import ast
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from run import ROOT, run, succeeded

TOOLS = sorted(path for path in (ROOT / 'tools').rglob('*.py')
               if path.name != 'dist_run.py')  # the scripts' own


@pytest.fixture(scope='module')
def helped():
    """What all of them print, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(TOOLS, pool.map(
            lambda path: run(sys.executable, path, '--help'), TOOLS)))


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.stem)
def test_it_says_what_it_does(helped, path):
    about = ast.get_docstring(ast.parse(path.read_text())).split('\n')[0]
    text = succeeded(helped[path])
    assert text.startswith(f'usage: {path.name}')
    assert ' '.join(about.split()) in ' '.join(text.split())
