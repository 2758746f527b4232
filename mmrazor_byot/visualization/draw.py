"""A picture of an image and of the scores that each exit gave it."""

from typing import Optional

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .exit_results import exit_state, left_at, one_line, percent

#: Pixels: the image's short and (at most) long edge, width of the bars' panel, height of a bar.
SHORT, LONG, PANEL, BAR = 320, 640, 460, 22
DPI = 100


def draw_exits(
    image: np.ndarray,
    result: dict,
    draw_score: bool = True,
    resize: Optional[int] = None,
    rescale_factor: Optional[float] = None,
) -> np.ndarray:
    """Draw an image and, beside it, bars for the top classes of each exit.

    Above the bars are the answer and the exit at which the image left. Exits that were not run say
    so; their place is kept, so that pictures of images that leave at different exits are alike.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        result (dict): Of :class:`ByotInferencer`.
        draw_score (bool): Write the scores as numbers. Defaults to True.
        resize (int, optional): Short edge of the image on the picture, in pixels, about. Defaults
            to 320, less for a long image.
        rescale_factor (float, optional): Size of the image on the picture as a factor of its own,
            or of ``resize``.

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
    rows = 2 + max(map(len, tops.values()))  # of an exit, with its title and a gap
    column = max(width, 20)  # room for the margins of a very narrow image
    size = column + PANEL, max(height, BAR * (rows * count + 3))
    figure = Figure((size[0] / DPI, size[1] / DPI), DPI, layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=(column, PANEL))
    photo, bars = left.subplots(), right.subplots()
    photo.imshow(image)
    photo.set_axis_off()

    title = one_line(result['pred_class'], 30)
    title += f'  {percent(result["pred_score"])}' if draw_score else ''
    right.suptitle(f'{title}\n{left_at(result)}', parse_math=False)
    ticks, names = [], []
    for number in range(1, count + 1):
        top_row = rows * (number - 1)
        state = exit_state(result, number)
        words = f'exit {number}/{count}' + ('' if state == 'read' else f'  {state}')
        weight = 'bold' if number == result['exit'] else 'normal'
        bars.text(0.01, top_row, words, va='center', weight=weight)
        top = tops.get(number, [])
        places = range(top_row + 1, top_row + 1 + len(top))
        colours = ['C0' if t['label'] == result['pred_label'] else '0.75' for t in top]
        drawn = bars.barh(places, [t['score'] for t in top], color=colours)
        if draw_score:
            bars.bar_label(drawn, [percent(t['score']) for t in top], padding=4)
        ticks += places
        names += [one_line(t['class'], 24) for t in top]
    bars.set_yticks(ticks, names, parse_math=False)
    bars.set(xlim=(0, 1.3 if draw_score else 1), xticks=[], ylim=(rows * count - 1, -1))
    bars.spines[['top', 'right', 'bottom']].set_visible(False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
