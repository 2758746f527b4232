"""Labels and classifier speak of the same classes."""

from types import SimpleNamespace

import pytest
import torch
from mmpretrain.structures import DataSample
from torch import nn

from mmrazor_byot.engine import LabelCheckHook
from mmrazor_byot.errors import ConfigError, DatasetError

MODES = ['train', 'val', 'test']


def with_exits():
    model = nn.Linear(1, 1)
    model.num_classes = 10
    return model


def plain():
    model = nn.Linear(1, 1)
    model.head = nn.Linear(1, 1)
    model.head.num_classes = 10
    return model


def runner(model, classes=None):
    """All three data sets have these classes."""
    metainfo = {} if classes is None else dict(classes=('c',) * classes)
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo))
    loaders = {f'{mode}_dataloader': loader for mode in MODES}
    return SimpleNamespace(model=model, **loaders)


def batch(*labels):
    samples = [DataSample().set_gt_label(label) for label in labels]
    return dict(inputs=torch.zeros(len(labels)), data_samples=samples)


def look(hook, mode, model, data):
    iteration = getattr(hook, f'before_{mode}_iter')
    iteration(runner(model), batch_idx=0, data_batch=data)


def end_epoch(hook, mode, model):
    getattr(hook, f'after_{mode}_epoch')(runner(model))


@pytest.mark.parametrize('model', [with_exits(), plain()])
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('wrap', [lambda m: m, nn.DataParallel])
@pytest.mark.parametrize('count', [9, 11, 100])
def test_other_number_of_classes(model, mode, wrap, count):
    check = getattr(LabelCheckHook(), f'before_{mode}')
    check(runner(wrap(model), classes=10))
    message = (
        f'the head has 10 classes, but the dataset of {mode}_dataloader has '
        f'{count}: set num_classes={count} of the head'
    )
    with pytest.raises(ConfigError, match=message):
        check(runner(wrap(model), classes=count))


@pytest.mark.parametrize(
    'model, classes', [(with_exits(), None), (nn.Linear(1, 1), 7)]
)
@pytest.mark.parametrize('mode', MODES)
def test_unknown_number_of_classes(model, classes, mode):
    """Either does not say it: there is nothing to compare."""
    getattr(LabelCheckHook(), f'before_{mode}')(runner(model, classes))


@pytest.mark.parametrize('model', [with_exits(), plain()])
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('label', [10, -1, 255])
def test_label_out_of_range(model, mode, label):
    hook = LabelCheckHook()
    look(hook, mode, model, batch(0, 9))
    message = (
        f'the {mode} data has the label {label}, but the head has 10 '
        'classes, 0 to 9: correct the labels'
    )
    with pytest.raises(DatasetError, match=message):
        look(hook, mode, model, batch(3, label, 77))


def test_each_label_of_a_sample_counts():
    """A sample may have several."""
    with pytest.raises(DatasetError, match='has the label 12'):
        look(LabelCheckHook(), 'train', with_exits(), batch([1, 2], [3, 12]))


@pytest.mark.parametrize('mode', MODES)
def test_only_the_first_pass_is_looked_at(mode):
    hook, model = LabelCheckHook(), with_exits()
    look(hook, mode, model, batch(1))
    end_epoch(hook, mode, model)
    look(hook, mode, model, batch(10))
    for other in set(MODES) - {mode}:
        with pytest.raises(DatasetError):
            look(hook, other, model, batch(10))


@pytest.mark.parametrize(
    'data',
    [
        None,
        torch.ones(3),
        dict(inputs=torch.ones(3)),
        dict(data_samples=[]),
        dict(data_samples=[DataSample()]),
    ],
)
def test_batches_without_labels(data):
    look(LabelCheckHook(), 'test', with_exits(), data)


def test_head_without_a_number_of_classes():
    look(LabelCheckHook(), 'train', nn.Linear(1, 1), batch(10**6))
