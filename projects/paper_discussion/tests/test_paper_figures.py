"""What the figures show."""

import numpy as np
import pytest
from figures import (
    plot_flatness,
    plot_gradients,
    plot_separability,
)

SIGMAS = [0.0, 0.1, 0.2]


def row(name, top1, loss, std=1.0):
    return dict(
        exit=name,
        top1=np.array(top1),
        top1_std=np.full(3, std),
        loss=np.array(loss),
        loss_std=np.full(3, std / 10),
    )


def lines(axes):
    """Curves by label; matplotlib names those without one ``_…``."""
    return {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_flatness():
    rows = [
        row('1/3', [50, 40, 30], [1.0, 2, 90]),
        row('2/3', [60, 50, 40], [1.0, 2, 3]),
        row('3/3', [70, 65, 45], [1.0, 1.5, 2.5]),
        row('ensemble', [80, 75, 55], [0.5, 1, 2]),
    ]
    plain = row('1/1', [72, 50, 20], [1.0, 2, 4])
    figure = plot_flatness(dict(BYOT=rows, plain=[plain]), SIGMAS, 'noise')
    accuracy, loss = figure.axes
    assert lines(accuracy)['BYOT'] == [70, 65, 45]
    assert lines(accuracy)['plain'] == [72, 50, 20]
    assert lines(accuracy)['BYOT, shallower exits'] == [50, 40, 30]
    assert [60, 50, 40] in lines(accuracy).values()
    assert lines(loss)['BYOT, ensemble'] == [0.5, 1, 2]
    assert legend(figure) == ['BYOT, shallower exits', 'BYOT', 'BYOT, ensemble', 'plain']
    # The band is a standard deviation wide, to both sides.
    edges = accuracy.collections[0].get_paths()[0].vertices
    assert {tuple(p) for p in edges.tolist()} >= {(0, 69), (0, 71), (0.2, 44), (0.2, 46)}
    # What a shallow exit loses does not flatten the others.
    assert loss.get_ylim() == pytest.approx((0, 1.05 * 4.1))
    assert accuracy.get_xlabel() == 'noise'
    assert accuracy.get_ylim()[0] == 0


def test_gradients():
    figure = plot_gradients(dict(a=[1e-2, 1e-3, 1e-4, 1e-5], b=[1e-4] * 4), [1, 3])
    (axes,) = figure.axes
    assert axes.get_yscale() == 'log'
    assert lines(axes)['a'] == [1e-2, 1e-3, 1e-4, 1e-5]
    borders = [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ':']
    assert borders == [1.5, 3.5]  # between the first two layers, and so on
    assert {text.get_text(): text.xy[0] for text in axes.texts} == {
        'section 2': 1.5,
        'section 3': 3.5,
    }
    assert legend(figure) == ['a', 'b']
    plain = plot_gradients(dict(a=[1.0, 0, 2, float('nan')]), []).axes[0]
    # 0 is a gap, not a line to the floor.
    assert not np.isfinite(plain.yaxis.get_transform().transform(np.zeros(1)))
    assert not plain.texts


def panel(name, points, explained=(0.5, 0.25)):
    return dict(exit=name, points=np.array(points), ssb_ssw=1.234, top1=56.78, explained=explained)


def test_separability():
    points = [[0.0, 0], [1, 1], [2, 2]]
    panels = [panel(f'{i}/5', points) for i in range(1, 6)]
    figure = plot_separability(panels, np.array([1, 0, 1]), ['cat, feline', 'dog'])
    assert len(figure.axes) == 8  # two rows of four
    first = figure.axes[0]
    (drawn,) = first.collections
    assert drawn.get_offsets().tolist() == points
    assert drawn.get_array().tolist() == [1, 0, 1]
    assert first.get_title() == 'exit 1/5\nSSB/SSW 1.23, top-1 56.8 %'
    assert first.get_xlabel() == 'component 1 (50 %)'
    assert first.get_ylabel() == 'component 2 (25 %)'
    assert legend(figure) == ['cat', 'dog']
    assert [axes.axison for axes in figure.axes] == [True] * 5 + [False] * 3
    dots = [handle.get_color() for handle in figure.legends[0].legend_handles]
    assert dots == [drawn.to_rgba(number) for number in (0, 1)]
    alone = plot_separability([panel('1/1', points, [])], np.array([1, 0, 1]), ['a', 'b'])
    assert alone.axes[0].get_xlabel() == ''
