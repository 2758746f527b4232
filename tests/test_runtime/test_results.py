"""A result as a dict, as a line and in a notebook."""

import base64
import copy
import io
import json
import pickle
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mmrazor_byot.runtime.results import (
    class_width,
    exit_result,
    left_at,
    percent,
    result_text,
)

SHARK = 'great white shark, man-eater, Carcharodon carcharias'
NAN = [np.nan] * 3


def result(
    classes=('cat', 'dog', 'eel'), exit_scores=(NAN, [0.125, 0.8125, 0.0625], NAN), **others
):
    settings = dict(exit_number=2, ensemble=False, time_ms=1.5, topk=2)
    exit_scores = np.array(exit_scores, np.float32)
    return exit_result(exit_scores[1], exit_scores, classes, **{**settings, **others})


def cells(shown):
    """The text of each row of a table, and its pictures as arrays."""
    table = ElementTree.fromstring(shown)
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(img.get('src').split(',')[1]))))
        for img in table.iter('img')
    ]
    rows = [
        [cell.text.replace('\xa0', ' ') for cell in row if cell.text] for row in table.iter('tr')
    ]
    return rows, pictures


def test_it_is_a_dict():
    found = result()
    top = [
        {'label': 1, 'class': 'dog', 'score': 0.8125},
        {'label': 0, 'class': 'cat', 'score': 0.125},
    ]
    expected = dict(
        pred_label=1,
        pred_score=0.8125,
        pred_class='dog',
        exit=2,
        num_exits=3,
        ensemble=False,
        exits=[dict(exit=2, top=top)],
        time_ms=1.5,
    )
    assert found.pop('pred_scores').tolist() == [0.125, 0.8125, 0.0625]
    assert found == expected and isinstance(found, dict)
    assert json.loads(json.dumps(found)) == expected


def test_it_prints_as_a_line():
    found = result()
    assert str(found) == 'dog (81.2 %), left at exit 2/3, 1.50 ms'
    assert repr([found, None]) == '[<dog (81.2 %), left at exit 2/3, 1.50 ms>, None]'
    lines = result(classes=('cat', 'two\nlines', 'eel'))
    assert str(lines) == 'two lines (81.2 %), left at exit 2/3, 1.50 ms'


def test_a_table_in_a_notebook():
    found = result(('cat', '<b>&dog</b>', 'eel'), ([0.5, 0.5, 0], [0, 1, 0], NAN))
    rows, pictures = cells(found._repr_html_())
    assert rows == [
        ['<b>&dog</b> (100.0 %), left at exit 2/3, 1.50 ms'],
        ['exit 1/3', 'cat (50.0 %)', '<b>&dog</b> (50.0 %)'],
        ['exit 2/3', '<b>&dog</b> (100.0 %)', 'cat (0.0 %)'],
    ]
    assert pictures == [] and '<b>' not in found._repr_html_()


@pytest.mark.parametrize('kind', ['path', 'bytes', 'PIL', 'array'])
def test_its_picture(tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 3), np.uint8)
    path = tmp_path / 'a.png'
    Image.fromarray(pixels).save(path)
    array = pixels.copy()
    images = dict(path=str(path), bytes=path.read_bytes(), PIL=Image.fromarray(pixels), array=array)
    found = result()
    found.keep_image(images[kind], 128)
    array[:] = 0  # a buffer that is used again
    for shown in (found, copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        rows, (picture,) = cells(shown._repr_html_())
        assert np.array_equal(picture, pixels)
    assert 'width="128" height="64"' in found._repr_html_()
    path.unlink()  # of a file that is gone the table is left
    again, pictures = cells(found._repr_html_())
    assert again == rows and len(pictures) == (kind != 'path')


@pytest.mark.parametrize('size, shown', [((300, 900), (128, 43)), ((2000, 1), (1, 128))])
def test_a_large_picture_is_small(size, shown):
    pixels = np.full((*size, 3), 200, np.uint8)
    pixels[..., 2] = 10
    found = result()
    found.keep_image(pixels, 10**6)
    assert found._image.size == shown
    _, (picture,) = cells(found._repr_html_())
    assert picture.shape == (*shown[::-1], 3) and (picture == pixels[0, 0]).all()


def test_text():
    row = result(classes=('1', SHARK, '2'))
    assert result_text('a.png', row, 12).splitlines() == [
        f'a.png: {SHARK} (81.2 %), left at exit 2/3, 1.50 ms',
        '  exit 1/3  not read',
        '  exit 2/3  great white…  81.2 %   1             12.5 %',
        '  exit 3/3  not run',
    ]
    assert class_width([result(), row]) == 24
    assert class_width([result()]) == 3
    mean = result(exit_scores=([0, 1, 0], [0, 1, 0], NAN), ensemble=True)
    assert left_at(mean) == 'left at exit 2/3, mean of 2 exits'
    shown = [percent(p) for p in (1.0, 0.99996, 0.9991, 0.5, 0.0004)]
    assert shown == ['100.0 %', '99.9 %', '99.9 %', '50.0 %', '0.0 %']
