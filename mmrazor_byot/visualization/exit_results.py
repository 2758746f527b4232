"""What came of an image, as plain data and as text."""

import math
from typing import List, Sequence

from mmpretrain.structures import DataSample


def exit_result(sample: DataSample, classes: Sequence[str], topk: int = 3) -> dict:
    """Take a prediction apart.

    Args:
        sample (DataSample): With ``pred_score`` (K,), ``exit_scores`` (C, K), NaN for an exit that
            was not read, ``exit``, ``ensemble`` and ``time_ms``.
        classes (Sequence[str]): Names of the K classes.
        topk (int): How many classes of each exit. Defaults to 3.

    Returns:
        dict: See :class:`ByotInferencer`.
    """
    label = int(sample.pred_label)
    exits = [
        dict(exit=number, top=top_classes(scores, classes, topk))
        for number, scores in enumerate(sample.exit_scores, start=1)
        if not scores.isnan().all()
    ]
    return dict(
        pred_scores=sample.pred_score.numpy(),
        pred_label=label,
        pred_score=float(sample.pred_score[label]),
        pred_class=classes[label],
        exit=sample.exit,
        num_exits=len(sample.exit_scores),
        ensemble=sample.ensemble,
        exits=exits,
        time_ms=sample.time_ms,
    )


def top_classes(scores, classes: Sequence[str], topk: int) -> List[dict]:
    """The likeliest classes, the likeliest first.

    Args:
        scores (Tensor): Probabilities (K,).
        classes (Sequence[str]): Their names.
        topk (int): How many, at most K.
    """
    values, labels = scores.topk(min(topk, len(scores)))
    return [
        {'label': label, 'class': classes[label], 'score': score}
        for score, label in zip(values.tolist(), labels.tolist())
    ]


def exit_state(result: dict, number: int) -> str:
    """``'read'``, ``'not read'`` (passed, for the policy has no use for it) or ``'not run'``.

    Args:
        result (dict): Of :func:`exit_result`.
        number (int): The exit, from 1.
    """
    if any(row['exit'] == number for row in result['exits']):
        return 'read'
    return 'not read' if number < result['exit'] else 'not run'


def percent(score: float) -> str:
    """A probability as text; only certainty itself is called 100.0 %."""
    shown = math.floor(score * 1000) / 10 if 0.999 < score < 1 else score * 100
    return f'{shown:.1f} %'


def left_at(result: dict) -> str:
    """Where the image left, as text."""
    text = f'left at exit {result["exit"]}/{result["num_exits"]}'
    if result['ensemble'] and len(result['exits']) > 1:
        text += f', mean of {len(result["exits"])} exits'
    return text


def result_text(name: str, result: dict, width: int = 24) -> str:
    """A result as lines, those of all images aligned alike.

    Args:
        name (str): The image's.
        result (dict): Of :func:`exit_result`.
        width (int): Columns for the name of a class; longer ones are cut.
    """
    answer = ' '.join(result['pred_class'].split())
    lines = [
        f'{name}: {answer} ({percent(result["pred_score"])}), {left_at(result)}, '
        f'{result["time_ms"]:.2f} ms'
    ]
    read = {row['exit']: row['top'] for row in result['exits']}
    count = result['num_exits']
    for number in range(1, count + 1):
        words = [
            f'{cut_short(top["class"], width):<{width}}{percent(top["score"]):>8}'
            for top in read.get(number, ())
        ]
        words = words or [exit_state(result, number)]
        lines.append(f'  exit {number}/{count}  ' + '   '.join(words))
    return '\n'.join(lines)


def class_width(results: Sequence[dict], most: int = 24) -> int:
    """Columns that the longest name of a class in the results takes.

    Args:
        results (Sequence[dict]): Of :func:`exit_result`.
        most (int): Never more than this. Defaults to 24.
    """
    return min(
        most,
        max(
            (
                len(top['class'])
                for result in results
                for row in result['exits']
                for top in row['top']
            ),
            default=most,
        ),
    )


def cut_short(name: str, width: int) -> str:
    """A name on one line, of at most so many characters."""
    name = ' '.join(name.split())
    return name if len(name) <= width else name[: width - 1].rstrip() + '…'
