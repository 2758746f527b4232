"""Pictures: what stands where, at any size."""

import os

import cv2
import numpy as np
import pytest

from mmrazor_byot.apis.pictures import Pictures
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.visualization.draw import (
    ANSWER,
    BARS,
    MARGIN,
    OTHER,
    PANEL,
    SCORES,
    draw_exits,
)
from mmrazor_byot.visualization.exit_results import (
    class_width,
    left_at,
    percent,
    result_text,
)

SHARK = 'great white shark, man-eater, Carcharodon carcharias'


def result(exit_number=2, num_exits=4, name='cat', read=(1, 2), scores=(0.8, 0.2)):
    names = (name, 'dog')
    top = [{'label': i, 'class': names[i], 'score': s} for i, s in enumerate(scores)]
    return dict(
        pred_scores=np.array(scores),
        pred_label=0,
        pred_score=scores[0],
        pred_class=name,
        exit=exit_number,
        num_exits=num_exits,
        ensemble=False,
        exits=[dict(exit=n, top=top) for n in read],
        time_ms=1.5,
    )


def image(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def bars(picture, colour):
    """Widths of the bars of a colour, from the top down, in pixels."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    counts = (picture[:, -(PANEL + MARGIN) :] == rgb).all(-1)
    counts = counts[:, BARS:].sum(1)  # the title has the answer's colour
    edges = np.flatnonzero(np.diff(np.r_[0, counts > 0, 0]))
    return [int(np.median(counts[a:b])) for a, b in edges.reshape(-1, 2)]


def test_a_tiny_image_is_enlarged_pixel_by_pixel():
    tiny = image(32, 40)
    picture = draw_exits(tiny, result(4, read=(1, 2, 3, 4)))
    top = (picture.shape[0] - 320) // 2
    np.testing.assert_array_equal(
        picture[top : top + 320, MARGIN : MARGIN + 400], tiny.repeat(10, 0).repeat(10, 1)
    )
    assert picture.shape[1] == 400 + PANEL + 4 * MARGIN
    assert (picture[:, :MARGIN] == 255).all()


def test_bars_are_as_long_as_the_scores():
    room = SCORES - BARS - 60
    for scores in ((0.8, 0.2), (0.5, 0.1)):
        picture = draw_exits(image(32, 32), result(scores=scores), resize=64)
        assert bars(picture, ANSWER) == pytest.approx([room * scores[0]] * 2, abs=2)
        assert bars(picture, OTHER) == pytest.approx([room * scores[1]] * 2, abs=2)
    # Nothing is drawn for the exits that were not run.
    alone = draw_exits(image(32, 32), result(1, read=(1,)), resize=64)
    assert len(bars(alone, ANSWER)) == 1


def test_without_scores_there_are_fewer_words_and_longer_bars():
    plain = draw_exits(image(32, 32), result(), draw_score=False, resize=64)
    assert bars(plain, ANSWER) == pytest.approx([(SCORES - BARS) * 0.8] * 2, abs=2)
    assert (plain[:, -MARGIN:] == 255).all()


@pytest.mark.parametrize('name', [SHARK, '$x_1$', 'two\nlines', '_' * 300])
def test_any_name_stays_in_its_column(name):
    picture = draw_exits(image(32, 32), result(name=name), resize=64)
    start = 64 + 3 * MARGIN
    assert picture.shape[1] == start + PANEL + MARGIN
    assert (picture[:, -MARGIN + 2 :] == 255).all()
    # A short name has the same bars: none is written over.
    short = draw_exits(image(32, 32), result(name='x'), resize=64)
    rows = slice(90, None)  # below the title
    np.testing.assert_array_equal(picture[rows, start + BARS :], short[rows, start + BARS :])
    assert (
        picture[rows, start : start + BARS - 12] != short[rows, start : start + BARS - 12]
    ).any()


@pytest.mark.parametrize(
    'size, shown',
    [
        ((3000, 4000), (600, 800)),  # reduced
        ((375, 500), (375, 500)),  # left as it is
        ((10, 3000), (3, 800)),
        ((600, 20), (600, 20)),
    ],
)
def test_sizes(size, shown):
    whole = result(4, read=(1, 2, 3, 4))
    panel = draw_exits(image(4, 4), whole, resize=4).shape[0]
    picture = draw_exits(image(*size), whole)
    assert picture.dtype == np.uint8
    height = picture.shape[0]
    assert height >= max(shown[0] + 2 * MARGIN, panel)
    assert picture.shape[1] == pytest.approx(
        shown[1] + height / panel * (PANEL + 4 * MARGIN), abs=4
    )
    # As wide, and written as large, for one that leaves early.
    assert draw_exits(image(*size), result()).shape[1] == picture.shape[1]


def test_asked_for_sizes():
    for settings, height in (
        (dict(resize=64), 64),
        (dict(rescale_factor=3), 96),
        (dict(resize=64, rescale_factor=2), 128),
    ):
        picture = draw_exits(np.zeros((32, 48, 3), np.uint8), result(), **settings)
        black = (picture[:, MARGIN + 1] == 0).all(-1).sum()
        assert black == height


def test_files(tmp_path):
    images = [image(8, 8), image(9, 9)]
    Pictures(images, show_dir=tmp_path / 'a/b').draw([result()] * 2)
    assert sorted(os.listdir(tmp_path / 'a/b')) == ['0.png', '1.png']
    written = cv2.imread(str(tmp_path / 'a/b/0.png'))
    np.testing.assert_array_equal(written[..., ::-1], draw_exits(images[0][..., ::-1], result()))


def test_a_window(monkeypatch):
    shown = []
    monkeypatch.setattr(
        'mmpretrain.visualization.UniversalVisualizer.show',
        lambda self, picture, win_name, wait_time: shown.append(
            (picture.shape, win_name, wait_time)
        ),
    )
    Pictures([image(8, 8)], show=True, wait_time=2).draw([result()])
    assert shown == [(draw_exits(image(8, 8), result()).shape, '0', 2)]


def test_what_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='cannot write'):
        Pictures([image(8, 8)], show_dir=tmp_path / 'file').draw([result()])
    assert os.listdir(tmp_path) == ['file']
    for settings in (dict(resize=0), dict(rescale_factor=-1)):
        with pytest.raises(ConfigError, match='must be positive'):
            Pictures([image(8, 8)], **settings)


def test_text():
    row = result(read=(2,), name=SHARK)
    assert result_text('a.png', row, 12).splitlines() == [
        f'a.png: {SHARK} (80.0 %), left at exit 2/4, 1.50 ms',
        '  exit 1/4  not read',
        '  exit 2/4  great white…  80.0 %   dog           20.0 %',
        '  exit 3/4  not run',
        '  exit 4/4  not run',
    ]
    assert class_width([result(), row]) == 24
    assert class_width([result()]) == 3
    assert left_at({**result(), 'ensemble': True}) == ('left at exit 2/4, mean of 2 exits')
    assert [percent(p) for p in (1.0, 0.99996, 0.9991, 0.5, 0.0004)] == [
        '100.0 %',
        '99.9 %',
        '99.9 %',
        '50.0 %',
        '0.0 %',
    ]
