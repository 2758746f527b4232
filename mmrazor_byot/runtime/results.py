"""What an image is classified as, as a dict, as text and in a notebook."""

import base64
import contextlib
import html
import io
import math
from typing import TYPE_CHECKING, List, Optional, Sequence

import numpy as np

from mmrazor_byot.errors import ByotError

if TYPE_CHECKING:  # as it needs Pillow, which a result does not
    from PIL.Image import Image as PILImage

    from .images import Source

#: Longest edge of the picture in a notebook, in pixels.
SIDE = 128


class ExitResult(dict):
    """The result for an image, a dict with the keys of ``ByotInferencer.__call__``.

    It prints as one line, and shows itself in a notebook with its image.
    """

    _image: 'Optional[Source]' = None

    def keep_image(self, image: 'Source', max_pixels: int) -> None:
        """Keep an image for notebooks: a path or bytes as they are, of pixels a small copy."""
        self._image = image if isinstance(image, (str, bytes)) else thumbnail(image, max_pixels)

    def __str__(self) -> str:
        return summary(self)

    def __repr__(self) -> str:
        return f'<{summary(self)}>'

    def _repr_html_(self) -> str:
        rows = [[html.escape(summary(self))]]
        for row in self['exits']:
            cells = [f'exit {row["exit"]}/{self["num_exits"]}']
            cells += [f'{one_line(t["class"], 24)} ({percent(t["score"])})' for t in row['top']]
            rows.append([html.escape(cell).replace(' ', '\xa0') for cell in cells])  # one line
        body = [''.join(f'<td>{cell}</td>' for cell in row) for row in rows[1:]]
        head = f'<th colspan="{max(map(len, rows))}" style="text-align: left">{rows[0][0]}</th>'
        with contextlib.suppress(ByotError):  # a file that is no longer there
            if self._image is not None:
                head = f'<td rowspan="{len(rows)}">{_picture(self._image)}</td>{head}'
        return f'<table><tr>{"</tr><tr>".join([head, *body])}</tr></table>'


def thumbnail(image: 'Source', max_pixels: int) -> 'PILImage':
    """An image whose longest edge is at most :data:`SIDE` pixels."""
    from PIL import Image

    from .images import read_image

    pixels = read_image(image, max_pixels)
    step = max(1, max(pixels.shape) // (2 * SIDE))  # roughly first, as it is faster
    small = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step]))
    small.thumbnail((SIDE, SIDE))
    return small


def _picture(image: 'Source') -> str:
    """An image as HTML, its longest edge :data:`SIDE` pixels."""
    from .images import MAX_PIXELS

    small, file = thumbnail(image, MAX_PIXELS), io.BytesIO()
    small.save(file, 'PNG')
    width, height = (max(1, round(n * SIDE / max(small.size))) for n in small.size)
    return (
        f'<img width="{width}" height="{height}" style="image-rendering: pixelated" '
        f'src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}" />'
    )


def exit_result(
    scores: np.ndarray,
    exit_scores: np.ndarray,
    classes: Sequence[str],
    exit_number: int,
    ensemble: bool,
    time_ms: float,
    topk: int = 3,
) -> ExitResult:
    """Make the result for an image.

    Args:
        scores (np.ndarray): The predicted probabilities (K,).
        exit_scores (np.ndarray): Those of the exits (C, K), NaN for exits that were not evaluated.
        classes (Sequence[str]): Names of the classes.
        exit_number, ensemble, time_ms, topk: See ``ByotInferencer.__call__``.
    """

    def top_classes(scores: np.ndarray) -> List[dict]:
        labels = np.argsort(-scores, kind='stable')[:topk].tolist()
        return [{'label': i, 'class': classes[i], 'score': float(scores[i])} for i in labels]

    label = int(scores.argmax())
    return ExitResult(
        pred_scores=scores,
        pred_label=label,
        pred_score=float(scores[label]),
        pred_class=classes[label],
        exit=exit_number,
        num_exits=len(exit_scores),
        ensemble=ensemble,
        exits=[
            dict(exit=number, top=top_classes(row))
            for number, row in enumerate(exit_scores, start=1)
            if not np.isnan(row).all()
        ],
        time_ms=time_ms,
    )


def exit_state(result: dict, number: int) -> str:
    """``'read'``, ``'not read'`` (reached, but not used by the policy) or ``'not run'``."""
    if any(row['exit'] == number for row in result['exits']):
        return 'read'
    return 'not read' if number < result['exit'] else 'not run'


def percent(score: float) -> str:
    """Format a probability; only 1 itself is rounded to 100.0 %."""
    shown = math.floor(score * 1000) / 10 if 0.999 < score < 1 else score * 100
    return f'{shown:.1f} %'


def left_at(result: dict) -> str:
    """The exit at which the image left, and how many exits are averaged, if more than one."""
    text = f'left at exit {result["exit"]}/{result["num_exits"]}'
    if result['ensemble'] and len(result['exits']) > 1:
        text += f', mean of {len(result["exits"])} exits'
    return text


def summary(result: dict) -> str:
    """A line such as ``'3 (99.8 %), left at exit 1/4, 0.94 ms'``."""
    return (
        f'{one_line(result["pred_class"])} ({percent(result["pred_score"])}), '
        f'{left_at(result)}, {result["time_ms"]:.2f} ms'
    )


def result_text(name: str, result: dict, width: int = 24) -> str:
    """Format a result: a line for the prediction, and one for the top classes of each exit.

    Class names are padded or cut to ``width`` characters.
    """
    count = result['num_exits']
    lines = [f'{name}: {summary(result)}']
    tops = {row['exit']: row['top'] for row in result['exits']}
    for number in range(1, count + 1):
        columns = [
            f'{one_line(top["class"], width):<{width}}{percent(top["score"]):>8}'
            for top in tops.get(number, ())
        ] or [exit_state(result, number)]
        lines.append(f'  exit {number}/{count}  ' + '   '.join(columns))
    return '\n'.join(lines)


def class_width(results: Sequence[dict], most: int = 24) -> int:
    """Length of the longest class name, at most ``most``."""
    tops = (top for result in results for row in result['exits'] for top in row['top'])
    return min(most, max((len(top['class']) for top in tops), default=most))


def one_line(name: str, width: int = 1000) -> str:
    """Remove the line breaks of a name, and cut it to ``width`` characters."""
    name = ' '.join(name.split())
    return name if len(name) <= width else name[: width - 1].rstrip(' ,') + '…'
