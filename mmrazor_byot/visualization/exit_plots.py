"""Figures of early exiting."""

from typing import Any, Sequence

import numpy as np
from matplotlib.figure import Figure

from .figures import exit_colors, short_name, tidy

#: Color of policies and of wrong predictions.
RED = '#d1495b'


def plot_trade_off(
    curve: Sequence[dict], exits: Sequence[dict], policies: Sequence[dict], cost: str, label: str
) -> Figure:
    """Plot accuracy over cost: a curve over the thresholds; exits, ensemble and policies as points.

    All are as from :func:`measure_trade_off`; ``cost`` is the key of the cost, ``label`` its axis.
    """
    figure = Figure(figsize=(4.6, 3.4))
    axes = figure.subplots()
    tidy(axes)
    points = sorted(curve, key=lambda p: p['threshold'])
    axes.plot([p[cost] for p in points], [p['top1'] for p in points], color=RED, label='early exit')

    def mark(point: dict, marker: str, size: float, **style: Any) -> None:
        axes.plot(point[cost], point['top1'], marker, markersize=size, zorder=3, **style)

    *single, ensemble = exits
    for point, color in zip(single, exit_colors(len(single))):
        mark(point, 'o', 8, color=color, label=f'exit {point["name"]}')
    mark(ensemble, 'D', 7, color='0.25', label='ensemble')
    for point in policies:
        mark(point, '*', 14, color=RED, markeredgecolor='white', label=point['name'])
    axes.set(xlabel=label, ylabel='top-1 accuracy (%)')
    axes.set_xlim(left=0)
    axes.legend(frameon=False, fontsize=8, loc='lower right')
    return figure


def plot_exit_fractions(curve: Sequence[dict], count: int) -> Figure:
    """Plot the percentage of images that leave at each of ``count`` exits over the threshold."""
    figure = Figure(figsize=(4.6, 3.0))
    axes = figure.subplots()
    points = sorted(curve, key=lambda p: p['threshold'])
    thresholds = [p['threshold'] for p in points]
    percentages = 100 * np.array([p['exit_shares'] for p in points]).T
    names = [f'exit {i + 1}/{count}' for i in range(count)]
    axes.stackplot(thresholds, percentages, colors=exit_colors(count), labels=names)
    axes.spines[['top', 'right']].set_visible(False)
    axes.set(xlabel='confidence threshold', ylabel='images (%)')
    axes.set(xlim=(thresholds[0], thresholds[-1]), ylim=(0, 100))
    axes.legend(frameon=False, fontsize=8, loc='upper left', bbox_to_anchor=(1, 1), reverse=True)
    return figure


def plot_gallery(rows: Sequence[Sequence[dict]], columns: int) -> Figure:
    """Plot the images of :func:`gallery_rows` in one row per exit, from easy to hard."""
    figure = Figure(figsize=(0.95 * columns + 0.9, 1.12 * len(rows) + 0.1))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for number, (line, images) in enumerate(zip(grid, rows), start=1):
        for axes in line:
            axes.set_axis_off()
        for axes, item in zip(line, images):
            axes.imshow(item['image'], interpolation='nearest')
            color = '0.15' if item['right'] else RED
            axes.set_title(short_name(item['answer']), fontsize=6.5, pad=2, color=color)
        line[0].text(
            -0.12, 0.5, f'exit {number}/{len(rows)}', transform=line[0].transAxes,
            ha='right', va='center', fontsize=8, weight='bold',
            color=exit_colors(len(rows))[number - 1],
        )  # fmt: skip
    figure.subplots_adjust(wspace=0.08, hspace=0.28)
    return figure
