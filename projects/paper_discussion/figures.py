"""Figures of the paper's discussion: flatness, gradients, separability."""

from typing import Dict, Sequence

import numpy as np
from matplotlib.figure import Figure

from mmrazor_byot.visualization.figures import short_name

#: Panels beside each other.
COLUMNS = 4


def plot_flatness(
    networks: Dict[str, Sequence[dict]], sigmas: Sequence[float], title_of_noise: str
) -> Figure:
    """Accuracy and cross entropy against the noise on the weights.

    A thick line with a band of one standard deviation is the deepest exit; thin lines are the
    others, that of the ensemble dashed.

    Args:
        networks (dict): By name, for each exit and the ensemble what :func:`flatness.summary` says.
        sigmas (Sequence[float]): S amounts of noise, rising.
        title_of_noise (str): Title of their axis.
    """
    figure = Figure(figsize=(7.6, 3.6), layout='constrained')
    accuracy, loss = figure.subplots(1, 2)
    highest = []
    for number, (name, rows) in enumerate(networks.items()):
        deepest = [row for row in rows if row['exit'] != 'ensemble'][-1]
        labels = {
            rows[0]['exit']: f'{name}, shallower exits',
            deepest['exit']: name,
            'ensemble': f'{name}, ensemble',
        }
        for axes, key in ((accuracy, 'top1'), (loss, 'loss')):
            for row in rows:
                axes.plot(
                    sigmas,
                    row[key],
                    'o-' if row is deepest else '--' if row['exit'] == 'ensemble' else '-',
                    color=f'C{number}',
                    linewidth=2 if row is deepest else 0.8,
                    markersize=4,
                    label=labels.get(row['exit']),
                )
            low, high = (deepest[key] + sign * deepest[f'{key}_std'] for sign in (-1, 1))
            axes.fill_between(sigmas, low, high, color=f'C{number}', alpha=0.2, linewidth=0)
        highest.append(np.nanmax(high))
    accuracy.set(xlabel=title_of_noise, ylabel='top-1 accuracy (%)', ylim=(0, None))
    # Shallow exits may go far beyond what the figure is about.
    loss.set(xlabel=title_of_noise, ylabel='cross entropy (nats)', ylim=(0, 1.05 * max(highest)))
    figure.legend(
        *accuracy.get_legend_handles_labels(), loc='outside lower center', ncols=2, fontsize=8
    )
    return figure


def plot_gradients(networks: Dict[str, Sequence[float]], starts: Sequence[int]) -> Figure:
    """Mean magnitude of the gradient, layer by layer.

    Args:
        networks (dict): By name, for each of the layers its gradient, from the first to the
            classifier; NaN or 0 is a gap.
        starts (Sequence[int]): Numbers of layers, from 0, with which the second and later sections
            begin.
    """
    figure = Figure(figsize=(6.0, 3.6), layout='constrained')
    axes = figure.subplots()
    for name, values in networks.items():
        numbers = range(1, len(values) + 1)
        axes.semilogy(numbers, values, 'o-', markersize=4, label=name, nonpositive='mask')
    axes.xaxis.get_major_locator().set_params(integer=True)
    for number, start in enumerate(starts, start=2):
        axes.axvline(start + 0.5, color='0.5', linewidth=1, linestyle=':')
        place = dict(xy=(start + 0.5, 1), xycoords=axes.get_xaxis_transform(), va='bottom')
        axes.annotate(f'section {number}', **place, fontsize=8)
    axes.set(xlabel='layer, from input to classifier', ylabel='mean |∂ loss / ∂ weight|')
    figure.legend(loc='outside lower center', ncols=2, fontsize=8)
    return figure


def plot_separability(panels: Sequence[dict], labels: np.ndarray, names: Sequence[str]) -> Figure:
    """The features of each exit in a plane, colored by class.

    Args:
        panels (Sequence[dict]): For each exit ``exit``, ``points`` (M, 2), ``ssb_ssw``, ``top1``
            (%) and ``explained``, the fractions of the variance by axis, or an empty list.
        labels (np.ndarray): Classes of the M points, from 0, (M,).
        names (Sequence[str]): Names of the classes, at most 20.
    """
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(2.6 * columns + 1.3, 3.0 * rows), layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    colors = dict(cmap='tab10', vmax=9) if len(names) <= 10 else dict(cmap='tab20', vmax=19)
    for axes, panel in zip(grid, panels):
        points = axes.scatter(
            *panel['points'].T, s=8, c=labels, **colors, vmin=0, alpha=0.75, rasterized=True
        )
        axes.set(xticks=[], yticks=[])
        numbers = f'SSB/SSW {panel["ssb_ssw"]:.2f}, top-1 {panel["top1"]:.1f} %'
        axes.set_title(f'exit {panel["exit"]}\n{numbers}', fontsize=8)
        fractions = zip((axes.set_xlabel, axes.set_ylabel), panel['explained'])
        for number, (label, fraction) in enumerate(fractions, start=1):
            label(f'component {number} ({100 * fraction:.0f} %)', fontsize=8)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles, _ = points.legend_elements(num=None)
    short = [short_name(name, 18) for name in names]
    figure.legend(handles, short, loc='outside right center', fontsize=8)
    return figure
