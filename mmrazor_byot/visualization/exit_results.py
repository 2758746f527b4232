"""Results of ``ByotInferencer`` as dicts and as text."""

import math
from typing import List, Sequence

from mmpretrain.structures import DataSample
from torch import Tensor


def exit_result(sample: DataSample, classes: Sequence[str], topk: int) -> dict:
    """Convert the prediction for an image to a dict, see ``ByotInferencer.__call__``."""

    def top_classes(scores: Tensor) -> List[dict]:
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


def result_text(name: str, result: dict, width: int = 24) -> str:
    """Format a result: a line for the prediction, and one for the top classes of each exit.

    Class names are padded or cut to ``width`` characters.
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
