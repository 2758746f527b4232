"""The progress bar of loops that take a while."""

import sys

import pytest

from mmrazor_byot.progress import track


def test_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    monkeypatch.setenv('TERM', 'xterm')
    assert list(track(iter('abc'), 'Letters', total=3)) == ['a', 'b', 'c']
    found = capsys.readouterr()
    assert 'Letters' in found.err and found.out == ''


@pytest.mark.parametrize('terminal, settings', [(False, {}), (True, dict(show=False))])
def test_nowhere_else(monkeypatch, capsys, terminal, settings):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: terminal)
    assert list(track('abc', 'Letters', **settings)) == ['a', 'b', 'c']
    assert capsys.readouterr() == ('', '')
