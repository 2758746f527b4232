"""Networks on BatchSamples: the same numbers, no Python for single images."""

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample
from waits import Waits

from mmrazor_byot.evaluation import BatchEvaluator, ExitAccuracy
from mmrazor_byot.registry import MODELS
from mmrazor_byot.structures import BatchSamples

LABELS = [0, 1, 2, 3, 4, 0]
PREPROCESSOR = dict(
    type='mmrazor_byot.BatchDataPreprocessor', num_classes=5, mean=[120.0] * 3, std=[60.0] * 3
)


@pytest.fixture
def byot(build_byot):
    def build(**settings):
        torch.manual_seed(0)
        return build_byot(data_preprocessor=PREPROCESSOR, **settings)

    return build


@pytest.fixture
def plain(tiny_architecture):
    def build(**settings):
        torch.manual_seed(0)
        tiny_architecture['head'].update(type='mmrazor_byot.BatchLinearClsHead', **settings)
        return MODELS.build(dict(tiny_architecture, data_preprocessor=PREPROCESSOR))

    return build


def data(kind, **fields):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=generator)
    if kind == 'whole':
        samples = BatchSamples(gt_label=torch.tensor(LABELS), **fields)
    else:
        samples = [DataSample().set_gt_label(y) for y in LABELS]
        for name, value in fields.items():
            for sample, row in zip(samples, value):
                sample.set_field(row, name)
    return dict(inputs=inputs, data_samples=samples)


def learn(model, batch):
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model.train_step(batch, OptimWrapper(optimizer))


@pytest.mark.parametrize('fields', [dict(), dict(gt_score=torch.eye(5)[LABELS] * 0.6 + 0.08)])
@pytest.mark.parametrize('network', ['byot', 'plain'])
def test_learns_the_same(request, network, fields):
    found = []
    for kind in ('whole', 'listed'):
        model = request.getfixturevalue(network)()
        log = learn(model, data(kind, **fields))
        found.append((log, model.state_dict()))
    (log, weights), (expected_log, expected) = found
    torch.testing.assert_close(log, expected_log, rtol=0, atol=0)
    torch.testing.assert_close(dict(weights), dict(expected), rtol=0, atol=0)


@pytest.mark.parametrize(
    'network, settings',
    [('plain', {}), *(('byot', dict(predict_with=i)) for i in ('deepest', 'ensemble', 2))],
)
def test_predicts_the_same(request, network, settings):
    model = request.getfixturevalue(network)(**settings)
    model.eval()
    with torch.no_grad():
        whole, listed = (model.test_step(data(kind)) for kind in ('whole', 'listed'))
    assert isinstance(whole, BatchSamples)
    assert whole.pred_score.shape == (6, 5)
    for ours, theirs in zip(whole, listed, strict=True):
        assert set(ours.keys()) == set(theirs.keys()) >= {'pred_score', 'pred_label', 'gt_label'}
        for name, value in theirs.items():
            assert torch.equal(ours.get(name), value), name


def test_accuracy_while_training(plain):
    logs = [learn(plain(cal_acc=True), data(kind)) for kind in ('whole', 'listed')]
    assert logs[0]['accuracy_top-1'] == logs[1]['accuracy_top-1'] > 0


@pytest.fixture
def made(monkeypatch):
    """Counts the DataSample objects that are made."""
    made = []
    init = DataSample.__init__

    def counting(self, *args, **kwargs):
        made.append(self)
        init(self, *args, **kwargs)

    monkeypatch.setattr(DataSample, '__init__', counting)
    return made


@pytest.mark.parametrize('network', ['byot', 'plain'])
def test_nothing_is_done_for_single_images(request, network, made):
    model = request.getfixturevalue(network)()
    made.clear()  # those that the head was checked with
    evaluator = BatchEvaluator(dict(type='mmrazor_byot.ExitAccuracy'))
    batch = data('whole')
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=True)
    wrapper = OptimWrapper(optimizer)
    model.train()
    with Waits() as waits:
        model.train_step(batch, wrapper)
        model.eval()
        with torch.no_grad():
            evaluator.process(model.val_step(batch), batch)
    assert waits.places == [] and made == []
    evaluator.evaluate(6)  # only now
    assert made == []


def test_the_list_is_not_waited_for_either(byot):
    model = byot().eval()
    evaluator = Evaluator(dict(type='mmrazor_byot.ExitAccuracy'))
    with torch.no_grad(), Waits() as waits:
        evaluator.process(model.val_step(data('listed')))
    assert waits.places == []


def test_it_would_be_noticed(made):
    with Waits() as waits:
        torch.ones(3).sum().item()
        torch.tensor([0, 1]).nonzero()
    assert len(waits.places) == 2
    assert len(list(data('whole')['data_samples'])) == len(made) == 6


class Dicts(ExitAccuracy):
    """Knows single images only."""

    takes_batches = False

    def process(self, data_batch, data_samples):
        assert all(type(sample) is dict for sample in data_samples)
        super().process(data_batch, data_samples)


@pytest.mark.parametrize('evaluator', [Evaluator, BatchEvaluator])
@pytest.mark.parametrize(
    'fields',
    [lambda scores: dict(exit_scores=scores), lambda scores: dict(pred_score=scores[:, 0])],
)
def test_metrics_agree(evaluator, fields):
    """In batches of 4, 4 and 3, whole or apart."""
    generator = torch.Generator().manual_seed(2)
    scores = torch.rand(11, 3, 5, generator=generator).softmax(-1)
    labels = torch.arange(11) % 5
    metrics = [ExitAccuracy((1, 2)), Dicts((1, 2), prefix='dicts')]
    whole, listed = evaluator(metrics), Evaluator([ExitAccuracy((1, 2))])
    for part in (slice(0, 4), slice(4, 8), slice(8, 11)):
        samples = BatchSamples(gt_label=labels[part], **fields(scores[part]))
        whole.process(samples, None)
        listed.process(list(samples), None)
    found, expected = whole.evaluate(11), listed.evaluate(11)
    assert expected == {k: v for k, v in found.items() if '/top' in k and not k.startswith('dicts')}
    assert expected == {k[6:]: v for k, v in found.items() if k.startswith('dicts')}
    best = fields(scores).get('pred_score', scores[:, 2]).argmax(1)
    assert found['accuracy/top1'] == pytest.approx(100 * (best == labels).sum().item() / 11)


def test_lists_go_through_the_batch_evaluator():
    evaluator = BatchEvaluator([ExitAccuracy(1)])
    samples = BatchSamples(
        gt_label=torch.tensor([0, 1]), pred_score=torch.tensor([[0.8, 0.2], [0.9, 0.1]])
    )
    evaluator.process(list(samples))
    assert evaluator.evaluate(2) == {'accuracy/top1': 50}
    evaluator.dataset_meta = dict(classes=('a', 'b'))
    assert evaluator.metrics[0].dataset_meta == dict(classes=('a', 'b'))
