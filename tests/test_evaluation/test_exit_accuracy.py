"""Accuracy of each exit and of the ensemble."""

import pytest
import torch
from mmpretrain.evaluation import Accuracy

from mmrazor_byot.errors import ConfigError, DatasetError, NonFiniteOutputError
from mmrazor_byot.evaluation import ExitAccuracy
from mmrazor_byot.registry import METRICS

LABELS = [0, 1, 2, 0]
#: Scores of four images at two exits. The right class has the ranks 0, 2, 1, 2 at exit 1 and 1, 0,
#: 0, 0 at exit 2; by the sums, which are those of the ensemble, 1, 0, 0, 1.
SCORES = [
    [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]],  # sums 0.8, 1.0, 0.2
    [[0.5, 0.2, 0.3], [0.1, 0.8, 0.1]],  # sums 0.6, 1.0, 0.4
    [[0.1, 0.5, 0.4], [0.1, 0.1, 0.8]],  # sums 0.2, 0.6, 1.2
    [[0.2, 0.5, 0.3], [0.40, 0.35, 0.25]],  # sums 0.60, 0.85, 0.55
]
PERCENT = {
    'exit1/top1': 25,
    'exit1/top2': 50,
    'exit2/top1': 75,
    'exit2/top2': 100,
    'ensemble/top1': 50,
    'ensemble/top2': 100,
    'accuracy/top1': 75,
    'accuracy/top2': 100,
}


def samples(scores, labels, key='exit_scores'):
    """What the evaluator hands on: dicts of tensors."""
    return [
        {key: torch.as_tensor(score), 'gt_label': torch.tensor([int(label)])}
        for score, label in zip(scores, labels)
    ]


def evaluate(scores, labels, topk, key='exit_scores', batch=3, size=None):
    metric = ExitAccuracy(topk=topk)
    data = samples(scores, labels, key)
    for i in range(0, len(data), batch):
        metric.process(None, data[i : i + batch])
    return metric.evaluate(size or len(data))


@pytest.mark.parametrize('batch', [1, 3, 4])
@pytest.mark.parametrize('topk', [(1, 2), 1, (2,)])
def test_by_hand(batch, topk):
    asked = [topk] if isinstance(topk, int) else topk
    expected = {k: v for k, v in PERCENT.items() if int(k[-1]) in asked}
    assert evaluate(SCORES, LABELS, topk, batch=batch) == expected


def test_network_without_exits():
    scores = [exits[0] for exits in SCORES]
    metrics = evaluate(scores, LABELS, (1, 2), key='pred_score')
    assert metrics == {'accuracy/top1': 25, 'accuracy/top2': 50}


@pytest.mark.parametrize('padding', [1, 2])
def test_padding_is_dropped(padding):
    """A sampler fills up the last batch with images from the front."""
    scores, labels = SCORES + SCORES[:padding], LABELS + LABELS[:padding]
    assert evaluate(scores, labels, (1, 2), size=4) == PERCENT


def test_second_evaluation_starts_anew():
    metric = ExitAccuracy(topk=(1, 2))
    for _ in range(2):
        metric.process(None, samples(SCORES, LABELS))
        assert metric.evaluate(4) == PERCENT


@pytest.mark.parametrize('classes', [5, 100])
def test_equal_to_mmpretrain(classes):
    scores = torch.randn(200, 3, classes).softmax(dim=-1)
    labels = torch.randint(classes, (200,))
    assert (scores.sort(dim=-1).values.diff(dim=-1) > 0).all()  # no ties
    metrics = evaluate(scores, labels, (1, 5), batch=64)
    answers = [('accuracy', scores[:, 2]), ('ensemble', scores.mean(dim=1))]
    answers += [(f'exit{i + 1}', scores[:, i]) for i in range(3)]
    for name, answer in answers:
        theirs = Accuracy.calculate(answer, labels, topk=(1, 5))
        ours = [metrics[f'{name}/top{k}'] for k in (1, 5)]
        assert ours == pytest.approx([v.item() for (v,) in theirs], rel=1e-6)
    assert len(metrics) == 10


@pytest.mark.parametrize('where', [0, 1, 2])
@pytest.mark.parametrize('key', ['exit_scores', 'pred_score'])
def test_nan_is_no_accuracy(where, key):
    scores = torch.tensor([[[0.9, 0.05, 0.05], [0.8, 0.1, 0.1]]] * 3)
    scores[1:, 0, where] = float('nan')
    if key == 'pred_score':
        scores = scores[:, 0]
    with pytest.raises(NonFiniteOutputError, match='exit 1 answers with NaN .* 2 of 3 images'):
        evaluate(scores, [0, 0, 1], (1, 3), key=key)


def test_one_label_an_image():
    """Two of one and none of the other are not two."""
    labels = [torch.tensor([0, 1]), torch.tensor([], dtype=torch.long)]
    batch = [dict(exit_scores=torch.rand(2, 3), gt_label=label) for label in labels]
    with pytest.raises(DatasetError, match='an image has several'):
        ExitAccuracy(topk=1).process(None, batch)


def test_more_than_the_classes():
    metric = METRICS.build(dict(type='mmrazor_byot.ExitAccuracy'))
    with pytest.raises(ConfigError, match='only 3 classes; change topk of val_evaluator'):
        metric.process(None, samples(SCORES, LABELS))


@pytest.mark.parametrize('topk', [0, (1, 0), (-1,), ()])
def test_k_that_cannot_be(topk):
    with pytest.raises(ConfigError, match='must be positive'):
        ExitAccuracy(topk=topk)
