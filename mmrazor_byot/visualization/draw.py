"""A picture of an image and of what each exit said of it."""

from typing import Optional, Tuple

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from .exit_results import exit_state, left_at, percent

#: Pixels: margin, width of the panel, its lines, gap before an exit.
MARGIN, PANEL, LINE, GAP = 16, 440, 22, 10
#: Where in the panel bars begin, and scores end.
BARS, SCORES = 190, PANEL
#: What a picture's short and long edge are brought near to, pixels.
SHORT, LONG = 320, 800
#: Colours: the answer, other classes, text, text beside the point.
ANSWER, OTHER, INK, FAINT = '#0072b2', '#b8c0c8', '#1a1a1a', '#767676'
DPI = 100


def draw_exits(
    image: np.ndarray,
    result: dict,
    draw_score: bool = True,
    resize: Optional[int] = None,
    rescale_factor: Optional[float] = None,
) -> np.ndarray:
    """Draw an image with a panel beside it.

    The panel has the answer, the exit at which the image left, and for each exit bars for its top
    classes, or that it was not run.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        result (dict): Of :class:`ByotInferencer`.
        draw_score (bool): Write the scores as numbers. Defaults to True.
        resize (int, optional): Short edge of the image on the picture, in pixels. Defaults to a
            legible size.
        rescale_factor (float, optional): Size of the image on the picture as a factor; comes after
            ``resize``.

    Returns:
        np.ndarray: (H', W', 3) uint8 RGB.
    """
    image = _scaled(image, resize, rescale_factor)
    height, width = image.shape[:2]
    # Larger beside a large image, and alike wherever images leave.
    scale = max(1.0, height / _full_height(result))
    edge = round(MARGIN * scale)
    full = (
        width + round(PANEL * scale) + 4 * edge,
        max(height, round(_height(result) * scale)) + 2 * edge,
    )
    figure = Figure((full[0] / DPI, full[1] / DPI), DPI, facecolor='white')
    canvas = FigureCanvasAgg(figure)
    panel = _Panel(figure, (width + 3 * edge, edge), scale)
    panel.title(result, draw_score)
    for number in range(1, result['num_exits'] + 1):
        panel.exit(result, number, draw_score)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    top = (picture.shape[0] - height) // 2
    picture[top : top + height, edge : edge + width] = image  # pixel by pixel
    return picture


class _Panel:
    """Lines of text and bars, from the top down.

    Args:
        figure (Figure): What is drawn on.
        corner (tuple): Its left upper corner, in pixels.
        scale (float): By how much it is enlarged.
    """

    def __init__(self, figure: Figure, corner: Tuple[int, int], scale: float) -> None:
        self.figure, self.scale = figure, scale
        self.size = figure.get_size_inches() * DPI
        self.left, self.y = corner

    def title(self, result: dict, draw_score: bool) -> None:
        """The answer, and where the image left."""
        room = PANEL
        if draw_score:
            score = self._text(percent(result['pred_score']), PANEL, 19, FAINT, ha='right')
            room -= self._width(score) + 12
        self._text(result['pred_class'], 0, 19, ANSWER, weight='bold', room=room)
        self._down(1.6 * LINE)
        self._text(left_at(result), 0, 12, INK)
        self._down(LINE)

    def exit(self, result: dict, number: int, draw_score: bool) -> None:
        """An exit with the bars of its top classes."""
        self._down(GAP)
        state = exit_state(result, number)
        here = number == result['exit']
        self._text(
            f'exit {number}/{result["num_exits"]}',
            0,
            11,
            INK if state == 'read' else FAINT,
            weight='bold' if here else 'normal',
        )
        if state != 'read':
            self._text(state, BARS, 11, FAINT, style='italic')
        self._down(LINE)
        top = next((row['top'] for row in result['exits'] if row['exit'] == number), [])
        for entry in top:
            self._bar(entry, entry['label'] == result['pred_label'], draw_score)

    def _bar(self, entry: dict, answer: bool, draw_score: bool) -> None:
        name = entry['class']
        self._text(name, 12, 10, INK if answer else FAINT, room=BARS - 24)
        length = SCORES - BARS - (60 if draw_score else 0)
        for share, colour in ((1, '#f0f2f4'), (entry['score'], ANSWER if answer else OTHER)):
            self._box(BARS, length * share, colour)
        if draw_score:
            self._text(percent(entry['score']), SCORES, 10, INK if answer else FAINT, ha='right')
        self._down(LINE)

    def _down(self, pixels: float) -> None:
        self.y += pixels * self.scale

    def _at(self, x: float, y: float) -> Tuple[float, float]:
        """From pixels of the panel to shares of the figure."""
        return (
            (self.left + x * self.scale) / self.size[0],
            1 - (self.y + y * self.scale) / self.size[1],
        )

    def _text(
        self, text: str, x: float, size: float, colour: str, room: Optional[float] = None, **style
    ) -> Text:
        artist = self.figure.text(
            *self._at(x, LINE / 2),
            ' '.join(text.split()),
            color=colour,
            size=size * self.scale * 72 / DPI * 1.3,
            va='center_baseline',
            parse_math=False,
            **style,
        )
        if room is not None:
            self._cut(artist, room)
        return artist

    def _width(self, artist: Text) -> float:
        return artist.get_window_extent().width / self.scale

    def _cut(self, artist: Text, room: float) -> None:
        """Shorten a text until it fits in so many pixels."""
        whole = artist.get_text()
        fits, length = 1, len(whole)
        if self._width(artist) <= room:
            return
        while fits < length:  # the most characters that fit
            middle = (fits + length + 1) // 2
            artist.set_text(whole[:middle].rstrip(' ,') + '…')
            if self._width(artist) <= room:
                fits = middle
            else:
                length = middle - 1
        artist.set_text(whole[:fits].rstrip(' ,') + '…')

    def _box(self, x: float, width: float, colour: str) -> None:
        left, bottom = self._at(x, LINE * 0.8)
        right, top = self._at(x + width, LINE * 0.2)
        self.figure.add_artist(
            Rectangle(
                (left, bottom),
                right - left,
                top - bottom,
                transform=self.figure.transFigure,
                color=colour,
                linewidth=0,
            )
        )


def _height(result: dict, bars: Optional[int] = None) -> float:
    """Of the panel, in pixels."""
    if bars is None:
        bars = sum(len(row['top']) for row in result['exits'])
    count = result['num_exits']
    return LINE * (2.6 + count + bars) + GAP * count


def _full_height(result: dict) -> float:
    """Of the panel of an image that is seen by all exits."""
    most = max(len(row['top']) for row in result['exits'])
    return _height(result, most * result['num_exits'])


def _scaled(
    image: np.ndarray, resize: Optional[int], rescale_factor: Optional[float]
) -> np.ndarray:
    """Whole pixels where it is enlarged, means of them where reduced."""
    height, width = image.shape[:2]
    short, long = min(height, width), max(height, width)
    if resize is not None or rescale_factor is not None:
        factor = (resize or short) / short * (rescale_factor or 1)
    else:
        factor = min(max(1, round(SHORT / short)), LONG / long)
        factor = int(factor) if factor > 1 else factor
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(
        image, size, interpolation=cv2.INTER_NEAREST if factor >= 1 else cv2.INTER_AREA
    )
