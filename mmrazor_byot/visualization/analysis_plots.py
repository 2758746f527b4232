"""Figures of the paper's discussion: flatness, gradients, separability."""

from typing import Dict, List, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .style import (
    class_colours,
    exit_colours,
    network_colours,
    short_name,
    tidy,
)

#: Panels beside each other.
COLUMNS = 4


def plot_flatness(
    networks: Dict[str, Sequence[dict]], sigmas: Sequence[float], title_of_noise: str
) -> Figure:
    """Accuracy and cross entropy against the noise on the weights.

    A thick line with a band of one standard deviation is the deepest exit;
    thin lines are the others.

    Args:
        networks (dict): By name, for each exit and the ensemble what
            :func:`mmrazor_byot.evaluation.flatness.summary` says.
        sigmas (Sequence[float]): S amounts of noise, rising.
        title_of_noise (str): Title of their axis.

    Returns:
        Figure: The figure.
    """
    figure = Figure(figsize=(7.6, 3.6), layout='constrained')
    accuracy, loss = figure.subplots(1, 2)
    highest = 0.0
    for (name, rows), colour in zip(networks.items(), network_colours(len(networks))):
        deepest = [row for row in rows if row['exit'] != 'ensemble'][-1]
        for axes, key in ((accuracy, 'top1'), (loss, 'loss')):
            mean, std = (np.asarray(deepest[k]) for k in (key, f'{key}_std'))
            axes.plot(
                sigmas, mean, 'o-', color=colour, linewidth=2, markersize=4, zorder=4, label=name
            )
            axes.fill_between(
                sigmas, mean - std, mean + std, color=colour, alpha=0.2, linewidth=0, zorder=3
            )
            if key == 'loss':
                highest = np.nanmax([highest, *(mean + std)])
            for exits, label, line in _other_exits(rows, deepest):
                values = np.array([row[key] for row in exits]).T
                # matplotlib labels every line of several.
                labels = [f'{name}, {label}', *[''] * (len(exits) - 1)]
                axes.plot(
                    sigmas, values, line, color=colour, linewidth=0.9, alpha=0.6, label=labels
                )
    for axes, title in ((accuracy, 'top-1 accuracy (%)'), (loss, 'cross entropy (nats)')):
        tidy(axes)
        axes.set_xlabel(title_of_noise)
        axes.set_ylabel(title)
        axes.set_xlim(0, sigmas[-1])
    accuracy.set_ylim(0, min(101, accuracy.get_ylim()[1]))
    # Shallow exits may go far beyond what the figure is about.
    loss.set_ylim(0, 1.05 * highest)
    _legend_below(figure, accuracy)
    return figure


def _other_exits(rows: Sequence[dict], deepest: dict) -> List[tuple]:
    """Rows of what is not the deepest exit, their label and line style."""
    shallow = [row for row in rows if row is not deepest and row['exit'] != 'ensemble']
    if not shallow:
        return []
    names = dict.fromkeys((shallow[0]['exit'], shallow[-1]['exit']))
    ensemble = [row for row in rows if row['exit'] == 'ensemble']
    return [(shallow, f'exit {" to ".join(names)}', '-'), (ensemble, 'ensemble', '--')]


def plot_gradients(networks: Dict[str, Sequence[float]], starts: Sequence[int]) -> Figure:
    """Mean magnitude of the gradient, layer by layer.

    Args:
        networks (dict): By name, for each of the layers its gradient, from
            the first to the classifier; NaN or 0, which a logarithmic axis
            has not, is a gap.
        starts (Sequence[int]): Numbers of layers, from 0, with which the
            second and later sections begin.

    Returns:
        Figure: The figure.
    """
    figure = Figure(figsize=(6.0, 3.6), layout='constrained')
    axes = figure.subplots()
    tidy(axes)
    for (name, values), colour in zip(networks.items(), network_colours(len(networks))):
        numbers = np.arange(1, len(values) + 1)
        shown = np.where(np.asarray(values) > 0, values, np.nan)
        axes.semilogy(numbers, shown, 'o-', color=colour, linewidth=1.8, markersize=4, label=name)
    last = len(next(iter(networks.values())))
    axes.set_xlim(0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if starts:
        _mark_sections(axes, [0, *starts, last])
    axes.set_xlabel('layer, from input to classifier')
    axes.set_ylabel('mean |∂ loss / ∂ weight|')
    _legend_below(figure, axes)
    return figure


def _mark_sections(axes: Axes, edges: Sequence[int]) -> None:
    for number, (left, right) in enumerate(zip(edges, edges[1:]), start=1):
        if number > 1:
            axes.axvline(left + 0.5, color='0.5', linewidth=1, linestyle=':')
        axes.text(
            (left + right + 1) / 2,
            1.01,
            f'section {number}',
            ha='center',
            va='bottom',
            fontsize=8,
            color='0.4',
            transform=axes.get_xaxis_transform(),
        )


def plot_separability(panels: Sequence[dict], labels: np.ndarray, names: Sequence[str]) -> Figure:
    """The features of each exit in a plane, coloured by class.

    Args:
        panels (Sequence[dict]): For each exit ``exit``, ``points`` (M, 2),
            ``ssb_ssw``, ``top1`` (%) and ``explained``, the shares of the
            variance by axis, or an empty list.
        labels (np.ndarray): Classes of the M points, from 0, (M,).
        names (Sequence[str]): Names of the classes, at most 20.

    Returns:
        Figure: The figure.
    """
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(2.6 * columns + 1.3, 3.0 * rows), layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes, panel, colour in zip(grid, panels, exit_colours(len(panels))):
        handles = _draw_points(axes, panel['points'], labels, len(names))
        axes.set_title(
            f'exit {panel["exit"]}', fontsize=10, color=colour, fontweight='bold', pad=18
        )
        axes.text(
            0.5,
            1.02,
            f'SSB/SSW {panel["ssb_ssw"]:.2f}, top-1 {panel["top1"]:.1f} %',
            transform=axes.transAxes,
            ha='center',
            va='bottom',
            fontsize=8,
        )
        _label_directions(axes, panel['explained'])
    legend = figure.legend(
        handles,
        [short_name(name, 18) for name in names],
        loc='outside right center',
        frameon=False,
        fontsize=8,
        handletextpad=0.1,
    )
    for handle in legend.legend_handles:
        handle.set_sizes([24])
        handle.set_alpha(1)
    return figure


def _draw_points(axes: Axes, points: np.ndarray, labels: np.ndarray, count: int) -> List:
    """Draw the points of each class; many are drawn small and as pixels."""
    size = 14 if len(points) < 400 else 7
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color('0.8')
    return [
        axes.scatter(
            *points[labels == number].T,
            s=size,
            color=colour,
            alpha=0.75,
            linewidth=0,
            rasterized=True,
        )
        for number, colour in enumerate(class_colours(count))
    ]


def _label_directions(axes: Axes, explained: Sequence[float]) -> None:
    for number, (share, label) in enumerate(
        zip(explained, (axes.set_xlabel, axes.set_ylabel)), start=1
    ):
        label(f'component {number} ({100 * share:.0f} %)', fontsize=8)


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    room = 14 * figure.get_figwidth()  # letters; a handle takes 8
    widths = [len(label) + 8 for label in labels]
    columns = len(labels) if sum(widths) <= room else max(1, int(room / max(widths)))
    figure.legend(
        handles, labels, loc='outside lower center', frameon=False, fontsize=8, ncols=columns
    )
