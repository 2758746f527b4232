"""Draw an image with the scores of each exit."""

from typing import List, Optional

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmrazor_byot.runtime.results import exit_state, left_at, one_line, percent

#: In pixels: short edge and longest edge of the image, width of the bar plot, height of a bar.
SHORT, LONG, PANEL, BAR = 320, 640, 460, 22
DPI = 100


def draw_exits(
    image: np.ndarray,
    result: dict,
    draw_score: bool = True,
    resize: Optional[int] = None,
    rescale_factor: Optional[float] = None,
) -> np.ndarray:
    """Draw an image next to a bar plot of the top classes of each exit.

    The title is the prediction and the exit at which the image left. Exits that were not run keep
    their space, so that all pictures have the same layout.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        result (dict): The result of :class:`ByotInferencer`.
        draw_score (bool): Draw the scores as numbers. Defaults to True.
        resize (int, optional): Approximate short edge of the drawn image in pixels. Defaults to
            320, less for an elongated image.
        rescale_factor (float, optional): Factor for the size of the drawn image, or for ``resize``.

    Returns:
        np.ndarray: (H', W', 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    short, long = min(height, width), max(height, width)
    scale = min(SHORT / short, LONG / long)
    if resize or rescale_factor:
        scale = (resize or short) / short * (rescale_factor or 1)
    width, height = max(1, round(scale * width)), max(1, round(scale * height))
    if scale < 1:  # matplotlib takes seconds for a large photograph
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    count, tops = result['num_exits'], {row['exit']: row['top'] for row in result['exits']}
    rows = 2 + max(map(len, tops.values()))  # per exit, with its title and a gap
    column = max(width, 20)  # space for the margins of a very narrow image
    size = (column + PANEL) / DPI, max(height, BAR * (rows * count + 3)) / DPI
    figure = Figure(size, DPI, layout='constrained')
    ((left, right),) = figure.subfigures(1, 2, squeeze=False, width_ratios=(column, PANEL))
    photo, bars = left.subplots(), right.subplots()
    photo.imshow(image)
    photo.set_axis_off()

    title = one_line(result['pred_class'], 30)
    title += f'  {percent(result["pred_score"])}' if draw_score else ''
    right.suptitle(f'{title}\n{left_at(result)}', parse_math=False)
    ticks: List[int] = []
    names: List[str] = []
    for number in range(1, count + 1):
        top_row = rows * (number - 1)
        state = exit_state(result, number)
        label = f'exit {number}/{count}' + ('' if state == 'read' else f'  {state}')
        weight = 'bold' if number == result['exit'] else 'normal'
        bars.text(0.01, top_row, label, va='center', weight=weight)
        top = tops.get(number, [])
        positions = range(top_row + 1, top_row + 1 + len(top))
        colors = ['C0' if t['label'] == result['pred_label'] else '0.75' for t in top]
        drawn = bars.barh(positions, [t['score'] for t in top], color=colors)
        if draw_score:
            bars.bar_label(drawn, [percent(t['score']) for t in top], padding=4)
        ticks += positions
        names += [one_line(t['class'], 24) for t in top]
    bars.set_yticks(ticks, names, parse_math=False)
    bars.set(xlim=(0, 1.3 if draw_score else 1), xticks=[], ylim=(rows * count - 1, -1))
    bars.spines[['top', 'right', 'bottom']].set_visible(False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
