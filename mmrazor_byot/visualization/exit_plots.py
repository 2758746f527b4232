"""Figures of a network that stops early."""

from typing import Dict, List, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .style import exit_colours, short_name, tidy


def plot_trade_off(
    curve: Sequence[dict], exits: Sequence[dict], policies: Sequence[dict], cost: str, label: str
) -> Figure:
    """Accuracy against cost: a curve over thresholds, the exits as points.

    Args:
        curve (Sequence[dict]): For each threshold ``top1`` in percent and the cost.
        exits (Sequence[dict]): The same with ``name``, for each exit and behind them the ensemble.
        policies (Sequence[dict]): The same with ``name``, for calibrated policies; may be empty.
        cost (str): Key of the cost.
        label (str): Title of its axis, with the unit.

    Returns:
        Figure: The figure.
    """
    figure = Figure(figsize=(4.6, 3.4))
    axes = figure.subplots()
    tidy(axes)
    points = sorted(curve, key=lambda p: p[cost])
    axes.plot(
        [p[cost] for p in points],
        [p['top1'] for p in points],
        color='#d1495b',
        linewidth=1.8,
        zorder=2,
        label='early exit',
    )
    *single, ensemble = exits
    for point, colour in zip(single, exit_colours(len(single))):
        axes.plot(
            point[cost],
            point['top1'],
            'o',
            color=colour,
            zorder=3,
            markersize=8,
            label=f'exit {point["name"]}',
        )
    axes.plot(
        ensemble[cost],
        ensemble['top1'],
        'D',
        color='0.25',
        zorder=3,
        markersize=7,
        label='ensemble',
    )
    for point in policies:
        axes.plot(
            point[cost],
            point['top1'],
            '*',
            color='#d1495b',
            zorder=4,
            markersize=14,
            markeredgecolor='white',
            label=point['name'],
        )
    axes.set_xlabel(label)
    axes.set_ylabel('top-1 accuracy (%)')
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.legend(frameon=False, fontsize=8, loc='lower right')
    return figure


def plot_shares(curve: Sequence[dict], count: int) -> Figure:
    """The share of images leaving at each exit, over the threshold.

    Args:
        curve (Sequence[dict]): For each threshold ``threshold`` and ``exit_shares`` (C).
        count (int): Number of exits, C.

    Returns:
        Figure: The figure.
    """
    figure = Figure(figsize=(4.6, 3.0))
    axes = figure.subplots()
    points = sorted(curve, key=lambda p: p['threshold'])
    shares = 100 * np.array([p['exit_shares'] for p in points]).T
    axes.stackplot(
        [p['threshold'] for p in points],
        shares,
        colors=exit_colours(count),
        linewidth=0,
        labels=[f'exit {i + 1}/{count}' for i in range(count)],
    )
    axes.spines[['top', 'right']].set_visible(False)
    axes.set_xlabel('confidence at which an image leaves')
    axes.set_ylabel('images (%)')
    axes.set_xlim(points[0]['threshold'], points[-1]['threshold'])
    axes.set_ylim(0, 100)
    axes.legend(
        frameon=False, fontsize=8, loc='center left', bbox_to_anchor=(1.0, 0.5), reverse=True
    )
    return figure


def plot_gallery(rows: Sequence[List[Dict]], names: Sequence[str], columns: int) -> Figure:
    """Images by the exit they left at, from easy to hard.

    Args:
        rows (Sequence[list[dict]]): For each exit its images: ``image`` (H, W, 3) uint8 RGB,
            ``answer`` (str), ``right`` (bool).
        names (Sequence[str]): Titles of the rows.
        columns (int): Images in a row.

    Returns:
        Figure: The figure.
    """
    figure = Figure(figsize=(0.95 * columns + 0.9, 1.12 * len(rows) + 0.1))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    colours = exit_colours(len(rows))
    for line, images, name, colour in zip(grid, rows, names, colours):
        for axes in line:
            axes.set_axis_off()
        for axes, item in zip(line, images):
            axes.imshow(item['image'], interpolation='nearest')
            axes.set_title(
                short_name(item['answer']),
                fontsize=6.5,
                pad=2,
                color='0.15' if item['right'] else '#c1121f',
            )
        line[0].text(
            -0.12,
            0.5,
            name,
            transform=line[0].transAxes,
            ha='right',
            va='center',
            fontsize=8,
            color=colour,
            fontweight='bold',
        )
    figure.subplots_adjust(wspace=0.08, hspace=0.28)
    return figure
