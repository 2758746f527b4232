"""The result of ``ByotInferencer`` for an image, as plain data and as text."""

import math
from typing import Sequence

from mmpretrain.structures import DataSample


def exit_result(sample: DataSample, classes: Sequence[str], topk: int) -> dict:
    """The prediction for an image as a dict, as ``ByotInferencer`` returns it."""

    def top_classes(scores) -> list:
        values, labels = scores.topk(min(topk, len(scores)))
        return [
            {'label': label, 'class': classes[label], 'score': score}
            for score, label in zip(values.tolist(), labels.tolist())
        ]

    label = int(sample.pred_label)
    return dict(
        pred_scores=sample.pred_score.numpy(),
        pred_label=label,
        pred_score=float(sample.pred_score[label]),
        pred_class=classes[label],
        exit=sample.exit,
        num_exits=len(sample.exit_scores),
        ensemble=sample.ensemble,
        exits=[
            dict(exit=number, top=top_classes(scores))
            for number, scores in enumerate(sample.exit_scores, start=1)
            if not scores.isnan().all()
        ],
        time_ms=sample.time_ms,
    )


def exit_state(result: dict, number: int) -> str:
    """``'read'``, ``'not read'`` (passed, as the policy does not use it) or ``'not run'``."""
    if any(row['exit'] == number for row in result['exits']):
        return 'read'
    return 'not read' if number < result['exit'] else 'not run'


def percent(score: float) -> str:
    """A probability as text; only certainty itself is called 100.0 %."""
    shown = math.floor(score * 1000) / 10 if 0.999 < score < 1 else score * 100
    return f'{shown:.1f} %'


def left_at(result: dict) -> str:
    """The exit at which the image left, and the number of exits averaged, if several."""
    text = f'left at exit {result["exit"]}/{result["num_exits"]}'
    if result['ensemble'] and len(result['exits']) > 1:
        text += f', mean of {len(result["exits"])} exits'
    return text


def result_text(name: str, result: dict, width: int = 24) -> str:
    """A result as lines: the answer, then each exit with its top classes.

    Args:
        name (str): Name of the image.
        result (dict): The result.
        width (int): Columns for the name of a class, of :func:`class_width` to align the results of
            several images; longer names are cut.
    """
    count = result['num_exits']
    lines = [
        f'{name}: {one_line(result["pred_class"])} ({percent(result["pred_score"])}), '
        f'{left_at(result)}, {result["time_ms"]:.2f} ms'
    ]
    tops = {row['exit']: row['top'] for row in result['exits']}
    for number in range(1, count + 1):
        columns = [
            f'{one_line(top["class"], width):<{width}}{percent(top["score"]):>8}'
            for top in tops.get(number, ())
        ]
        lines.append(
            f'  exit {number}/{count}  ' + '   '.join(columns or [exit_state(result, number)])
        )
    return '\n'.join(lines)


def class_width(results: Sequence[dict], most: int = 24) -> int:
    """Columns that the longest name of a class takes, at most ``most``."""
    tops = (top for result in results for row in result['exits'] for top in row['top'])
    return min(most, max((len(top['class']) for top in tops), default=most))


def one_line(name: str, width: int = 1000) -> str:
    """A name without line breaks, of at most ``width`` characters."""
    name = ' '.join(name.split())
    return name if len(name) <= width else name[: width - 1].rstrip(' ,') + '…'
