"""Table, JSON and plot of the runs of accuracy.py."""

import json
from pathlib import Path
from statistics import mean, stdev
from textwrap import fill
from typing import Dict, List, Sequence

from machine import save_result
from matplotlib.figure import Figure

from mmrazor_byot.table import format_table
from mmrazor_byot.visualization.figures import exit_colors, save_figure, tidy


def summarize(runs: Sequence[dict]) -> Dict[str, dict]:
    """Mean and standard deviation over the seeds.

    Args:
        runs: With ``method``, ``seed`` and ``top1``, the accuracies in percent of ``exit1`` ...
            ``ensemble`` and, of the deepest exit, ``accuracy``.

    Returns:
        Method to ``seeds`` and, for each of the accuracies, ``mean`` and ``std``, the sample's;
        None for a single seed.
    """
    methods: Dict[str, List[dict]] = {}
    for run in runs:
        methods.setdefault(run['method'], []).append(run)
    return {
        name: dict(
            seeds=sorted(run['seed'] for run in of_one),
            epochs=sorted({run['epochs'] for run in of_one}),
            top1={key: _spread([run['top1'][key] for run in of_one]) for key in of_one[0]['top1']},
        )
        for name, of_one in methods.items()
    }


def _spread(values: Sequence[float]) -> dict:
    return dict(mean=mean(values), std=stdev(values) if len(values) > 1 else None)


def report(folder: Path, name: str, order: Sequence[str]) -> None:
    """Print the table; write ``NAME.json``, ``NAME.png`` and ``NAME.svg``.

    Args:
        folder: Where the folder of the runs is.
        name: Of that folder and of the files.
        order: Of the methods; others that have runs follow.
    """
    runs = [json.loads(path.read_text()) for path in sorted((folder / name).glob('*.json'))]
    if not runs:
        print('no run is done')
        return
    found = summarize(runs)
    order = [m for m in (*order, *found) if m in found]
    found = {m: found[m] for m in dict.fromkeys(order)}
    print(table(found))
    save_result(name, dict(methods=found), folder)
    save_figure(plot(found), folder / name)


def columns(found: Dict[str, dict]) -> List[str]:
    """Names of the accuracies that some method has, in their order."""
    names = {key for row in found.values() for key in row['top1']}
    exits = sorted(n for n in names if n.startswith('exit'))
    # A network without exits has only the deepest one's answer.
    return [*(exits or ['accuracy']), *({'ensemble'} & names)]


def value(row: dict, column: str, last: str) -> dict:
    """An accuracy of a method, or None; ``last`` is the deepest exit's."""
    return row['top1'].get('accuracy' if column == last else column)


def table(found: Dict[str, dict]) -> str:
    """A Markdown table, accuracies in percent."""
    names = columns(found)
    exits = [n for n in names if n != 'ensemble']
    titles = [f'{i}/{len(exits)}' for i in range(1, len(exits) + 1)]
    head = ['method', *titles, *names[len(exits) :], 'seeds', 'epochs']
    rows = [head]
    for method, row in found.items():
        cells = [_cell(value(row, n, exits[-1])) for n in names]
        rows.append([method, *cells, len(row['seeds']), '/'.join(map(str, row['epochs']))])
    return format_table(rows, markdown=True)


def _cell(spread: dict) -> str:
    if spread is None:
        return '-'
    if spread['std'] is None:
        return f'{spread["mean"]:.1f}'
    return f'{spread["mean"]:.1f} ± {spread["std"]:.1f}'


def plot(found: Dict[str, dict]) -> Figure:
    """A column of points for each method, with bars of a standard deviation.

    The dashed line is the plain network, where it was trained.
    """
    names = columns(found)
    exits = [n for n in names if n != 'ensemble']
    colors = [*exit_colors(len(exits)), '0.25']
    figure = Figure(figsize=(1.0 + 1.05 * len(found), 3.6))
    axes = figure.subplots()
    tidy(axes)
    for i, name in enumerate(names):
        points = [(x, value(row, name, exits[-1])) for x, row in enumerate(found.values())]
        points = [(x, p) for x, p in points if p is not None]
        title = 'ensemble' if name == 'ensemble' else f'exit {i + 1}/{len(exits)}'
        axes.errorbar(
            [x + 0.12 * (i - (len(names) - 1) / 2) for x, _ in points],
            [p['mean'] for _, p in points],
            yerr=[p['std'] or 0 for _, p in points],
            fmt='D' if name == 'ensemble' else 'o',
            color=colors[i],
            markersize=6,
            elinewidth=1.2,
            label=title,
        )
    if 'plain' in found:
        axes.axhline(
            found['plain']['top1']['accuracy']['mean'],
            color='#d1495b',
            linestyle='--',
            linewidth=1.2,
            zorder=1,
        )
    axes.set_xticks(range(len(found)), [fill(m, width=12) for m in found], fontsize=8)
    axes.grid(False, axis='x')
    axes.set_ylabel('top-1 accuracy (%)')
    axes.legend(frameon=False, fontsize=8, loc='center left', bbox_to_anchor=(1.0, 0.5))
    return figure
