"""Pictures of results."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmrazor_byot.visualization import draw

SHARK = 'great white shark, man-eater, Carcharodon carcharias'


def result(exit_number=2, num_exits=4, name='cat', read=(1, 2), scores=(0.8, 0.2)):
    classes = (name, *(f'{i}' for i in range(1, len(scores))))
    top = [{'label': i, 'class': classes[i], 'score': s} for i, s in enumerate(scores)]
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


ALL = dict(exit_number=4, read=(1, 2, 3, 4))


@pytest.fixture
def drawn(monkeypatch):
    """Draws, and gives the picture with the parts of its figure."""
    figures = []

    class KeptFigure(Figure):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings)
            figures.append(self)

    monkeypatch.setattr(draw, 'Figure', KeptFigure)

    def run(image, *args, **settings):
        picture = draw.draw_exits(np.zeros((*image, 3), np.uint8), *args, **settings)
        left, right = figures[-1].subfigs
        photo, bars = left.axes[0], right.axes[0]
        return SimpleNamespace(
            picture=picture,
            figure=figures[-1],
            photo=photo.get_window_extent(),
            bars=bars,
            texts=[*bars.texts, *bars.get_yticklabels(), right._suptitle],
            title=right._suptitle.get_text(),
        )

    return run


def test_the_answer_and_the_bars_of_each_exit(drawn):
    found = drawn((32, 32), result())
    assert found.title == 'cat  80.0 %\nleft at exit 2/4'
    assert [bar.get_width() for bar in found.bars.patches] == [0.8, 0.2, 0.8, 0.2]
    colors = [bar.get_facecolor() for bar in found.bars.patches]
    assert colors[0] == colors[2] != colors[1] == colors[3]
    assert [label.get_text() for label in found.bars.get_yticklabels()] == ['cat', '1'] * 2
    exits = {t.get_text(): t.get_weight() for t in found.bars.texts if 'exit' in t.get_text()}
    assert exits == {
        'exit 1/4': 'normal',
        'exit 2/4': 'bold',
        'exit 3/4  not run': 'normal',
        'exit 4/4  not run': 'normal',
    }
    plain = drawn((32, 32), result(), draw_score=False)
    assert [t.get_text() for t in found.texts if '%' in t.get_text()][:2] == ['80.0 %', '20.0 %']
    assert not any('%' in t.get_text() for t in plain.texts)


@pytest.mark.parametrize(
    'size, arguments',
    [
        ((32, 32), dict(ALL, name=SHARK)),
        ((375, 500), dict(ALL, name='$x_1$ two\nlines', scores=(1.0, *[0.0] * 9))),
        ((300, 1600), dict(name='_' * 300)),
        ((1, 4000), dict(ALL, num_exits=4)),
        ((4000, 1), dict(scores=(1.0,))),
    ],
)
def test_nothing_is_cut_off_or_overlaps(drawn, size, arguments):
    found = drawn(size, result(**arguments))
    height, width = found.picture.shape[:2]
    boxes = [text.get_window_extent() for text in found.texts]
    for box in boxes:
        assert box.x0 >= found.photo.x1 and box.x1 <= width
        assert box.y0 >= 0 and box.y1 <= height
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert found.photo.x0 >= 0 and found.photo.y0 >= 0


@pytest.mark.parametrize(
    'size, settings, shown',
    [
        ((32, 40), {}, (320, 400)),
        ((3000, 4000), {}, (320, 427)),
        ((400, 1600), {}, (160, 640)),
        ((32, 48), dict(resize=64), (64, 96)),
        ((32, 48), dict(rescale_factor=3), (96, 144)),
        ((32, 48), dict(resize=64, rescale_factor=2), (128, 192)),
    ],
)
def test_sizes(drawn, size, settings, shown):
    found = drawn(size, result(**ALL), **settings)
    assert (found.photo.height, found.photo.width) == pytest.approx(shown, rel=0.04, abs=13)
    black = (found.picture == 0).all(-1)[:, : int(found.photo.x1)]
    assert black.sum() == pytest.approx(found.photo.height * found.photo.width, rel=0.05)
    # Alike for an image that leaves early.
    assert drawn(size, result(), **settings).picture.shape == found.picture.shape
