"""Samples of a batch: whole tensors for us, DataSample objects for others."""

import copy
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.model import BaseDataPreprocessor
from mmengine.utils import digit_version
from mmpretrain.models import ClsDataPreprocessor, LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data._utils.pin_memory import pin_memory

from mmrazor_byot.errors import DatasetError
from mmrazor_byot.structures import BatchSamples, stack_targets

LABELS = [3, 0, 4, 1]


def whole(**fields):
    return BatchSamples(
        gt_label=torch.tensor(LABELS), sample_idx=torch.tensor([10, 11, 12, 13]), **fields
    )


def apart(**fields):
    """What a list of samples would hold."""
    samples = [DataSample(metainfo=dict(sample_idx=10 + i)) for i in range(4)]
    for name, value in dict(gt_label=torch.tensor(LABELS).unsqueeze(1), **fields).items():
        for sample, row in zip(samples, value):
            sample.set_field(row, name)
    return samples


def test_each_sample_is_a_data_sample():
    scores = torch.rand(4, 5)
    exits = torch.rand(4, 3, 5)
    samples = whole(gt_score=scores, exit_scores=exits, pred_label=torch.arange(4))
    assert len(samples) == 4
    for i, sample in enumerate(samples):
        assert type(sample) is DataSample
        assert sample.gt_label.tolist() == [LABELS[i]]
        assert sample.pred_label.tolist() == [i]
        assert sample.sample_idx == 10 + i and sample.num_classes == 5
        assert torch.equal(sample.gt_score, scores[i])
        assert torch.equal(sample.exit_scores, exits[i])
        assert 'gt_score' in sample and 'pred_score' not in sample
        assert samples[i] is sample
    assert samples[-1] is samples[3]
    assert [s.sample_idx for s, _ in zip(samples, 'ab')] == [10, 11]
    with pytest.raises(IndexError):
        samples[4]


def test_whole_fields():
    samples = whole()
    assert samples.gt_label.tolist() == LABELS
    assert samples.has('gt_label') and not samples.has('gt_score')
    with pytest.raises(AttributeError, match='pred_score'):
        assert samples.pred_score is None
    assert not hasattr(samples, '_fields')  # torch and mmengine ask for it
    with pytest.raises(ValueError, match='gt_score has 3 rows'):
        samples.set_fields(gt_score=torch.rand(3, 2))
    first, scores = samples[0], torch.rand(4, 5)  # they reach samples that were handed out
    samples.set_fields(gt_label=torch.tensor([1, 1, 1, 1]), pred_score=scores)
    assert first.gt_label.tolist() == [1] and torch.equal(first.pred_score, scores[0])
    assert torch.equal(samples.pred_score, scores)


def test_what_is_written_into_a_sample_is_not_lost():
    samples = whole()
    samples[2].set_gt_label(9)
    assert samples.gt_label.tolist() == [3, 0, 9, 1]
    samples[0].gt_label += 40
    assert samples.gt_label.tolist() == [43, 0, 9, 1]
    for i, sample in enumerate(samples):
        sample.set_pred_score(torch.full((2,), float(i)))
    assert samples.has('pred_score')
    assert samples.pred_score.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert samples.to('cpu').gt_label.tolist() == [43, 0, 9, 1]
    assert samples[1:3].gt_label.tolist() == [0, 9]


@pytest.mark.parametrize(
    'fields',
    [
        dict(),
        dict(gt_score=torch.rand(4, 5)),
        dict(pred_score=torch.rand(4, 5), exit_scores=torch.rand(4, 2, 5)),
    ],
)
def test_put_together_from_a_list(fields):
    samples = BatchSamples.of(apart(**fields))
    for name, value in fields.items():
        assert torch.equal(getattr(samples, name), value)
    assert samples.gt_label.tolist() == LABELS
    assert samples.sample_idx.tolist() == [10, 11, 12, 13]
    assert BatchSamples.of(samples) is samples
    target = stack_targets(apart(**fields))
    assert torch.equal(target, stack_targets(whole(**fields)))
    assert target.tolist() == (fields['gt_score'].tolist() if 'gt_score' in fields else LABELS)


@pytest.mark.parametrize('second', [[1, 2], []])
def test_several_labels_of_one_image(second):
    labels = [1, 2], torch.tensor(second, dtype=torch.long)  # with none, two labels of two images
    samples = BatchSamples(DataSample().set_gt_label(label) for label in labels)
    with pytest.raises(DatasetError, match=r'image 0 of a batch has 2 labels \(gt_label\)'):
        stack_targets(samples)


@pytest.mark.parametrize('part', [slice(1, 3), slice(None, 2), slice(5, 9)])
@pytest.mark.parametrize('make', [whole, lambda: BatchSamples(apart())])
def test_slices(make, part):
    some = make()[part]
    assert isinstance(some, BatchSamples)
    assert [s.gt_label.item() for s in some] == LABELS[part]
    assert len(some) == len(LABELS[part])


def test_to_moves_all_but_the_numbers():
    samples = whole(gt_score=torch.rand(4, 5))
    peeked = samples[1]
    moved = samples.to('meta')
    assert moved.gt_label.is_meta and moved.gt_score.is_meta
    assert moved.sample_idx.tolist() == [10, 11, 12, 13]
    assert not peeked.gt_label.is_meta


def mmengine_casts(samples):
    return BaseDataPreprocessor()(dict(inputs=torch.ones(2), data_samples=samples))['data_samples']


def test_torch_pins_it(monkeypatch):
    pinned = []

    def pin(tensor, *args):
        pinned.append(tensor)
        return tensor.clone()

    monkeypatch.setattr(Tensor, 'pin_memory', pin)
    samples = whole()
    after = pin_memory(dict(data_samples=samples))['data_samples']
    assert isinstance(after, BatchSamples)
    assert after.gt_label.tolist() == LABELS
    if digit_version(torch.__version__) < digit_version('2.14'):
        return  # an older torch asks each sample of a sequence, not the whole
    assert len(pinned) == 1 and pinned[0] is samples.gt_label
    samples[0].set_gt_label(1)
    assert pin_memory(samples) is samples


@pytest.mark.parametrize(
    'through',
    [
        *(copy.copy, copy.deepcopy, mmengine_casts),
        lambda samples: ForkingPickler.loads(ForkingPickler.dumps(samples)),  # to another process
    ],
)
@pytest.mark.parametrize('peek', [False, True])
def test_copies_are_equal(through, peek):
    scores = torch.rand(4, 5)
    samples = whole(gt_score=scores)
    if peek:
        samples[1].set_gt_label(9)
    again = through(samples)
    assert isinstance(again, BatchSamples)
    assert again.gt_label.tolist() == [3, 9 * peek, 4, 1]
    assert again.sample_idx.tolist() == [10, 11, 12, 13]
    assert torch.equal(again.gt_score, scores)
    assert again[1].gt_label.tolist() == [9 * peek]


def test_mmpretrains_head_learns_from_it_and_fills_it_in():
    head = LinearClsHead(5, 8, cal_acc=True)
    features = (torch.randn(4, 8),)
    lists, batch = apart(), whole()
    expected, found = (head.loss(features, s) for s in (lists, batch))
    assert found['loss'].item() == expected['loss'].item()
    assert found['accuracy_top-1'] == expected['accuracy_top-1']
    mixed = torch.rand(4, 5)
    head.cal_acc = False  # mixed labels have none
    expected, found = (head.loss(features, make(gt_score=mixed)) for make in (apart, whole))
    assert found['loss'].item() == expected['loss'].item() > 0
    lists, answers = head.predict(features, lists), head.predict(features, batch)
    for answer, sample in zip(answers, lists):
        assert torch.equal(answer.pred_score, sample.pred_score)
        assert torch.equal(answer.pred_label, sample.pred_label)
        assert torch.equal(answer.gt_label, sample.gt_label)
    # What it wrote into the samples is in the batch.
    assert torch.equal(batch.pred_score, torch.stack([s.pred_score for s in lists]))
    assert batch.pred_label.tolist() == [s.pred_label.item() for s in lists]


@pytest.mark.parametrize('augments', [None, dict(augments=dict(type='Mixup', alpha=0.8))])
def test_mmpretrains_preprocessor_takes_it(augments):
    preprocessor = ClsDataPreprocessor(
        mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], num_classes=5, batch_augments=augments
    )
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    found = []
    for samples in (apart(), whole()):
        torch.manual_seed(0)
        np.random.seed(0)
        found.append(preprocessor(dict(inputs=images, data_samples=samples), training=True))
    theirs, ours = found
    assert torch.equal(theirs['inputs'], ours['inputs'])
    target = stack_targets(theirs['data_samples'])
    assert target.ndim == 1 + bool(augments)
    assert torch.equal(target, stack_targets(ours['data_samples']))


def test_mmengines_evaluator_takes_it():
    seen = []

    class Metric:
        def process(self, data_batch, data_samples):
            seen.extend(data_samples)

    Evaluator([Metric()]).process(whole(pred_score=torch.rand(4, 5)))
    assert [s['gt_label'].item() for s in seen] == LABELS
    assert all(type(s) is dict and s['pred_score'].shape == (5,) for s in seen)
