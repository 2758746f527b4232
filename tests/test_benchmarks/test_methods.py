"""The methods that are compared: what they share, and what differs."""

import copy
import functools

import pytest
import torch
from methods import METHODS, method_config
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample
from run import NARROW, RECIPES
from scales import SCALES, Scale, evaluate_on_unused, hold_out_images

from mmrazor_byot.registry import DATASETS, MODELS

SHARED = (
    'train_dataloader',
    'test_dataloader',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'custom_hooks',
    'default_hooks',
)


read = functools.cache(Config.fromfile)


@pytest.fixture(autouse=True)
def read_once(monkeypatch):
    """Recipes, a third of a second each."""
    monkeypatch.setattr(Config, 'fromfile', lambda path: copy.deepcopy(read(path)))


@pytest.mark.parametrize('scale', SCALES)
def test_methods_differ_in_how_they_learn_alone(scale):
    byot = method_config(SCALES[scale], 'byot')
    for method in METHODS:
        cfg = method_config(SCALES[scale], method)
        averaged = cfg.default_hooks.pop('ema', None)
        assert bool(averaged) == method.endswith('-ema')
        for key in SHARED:
            assert cfg[key] == byot[key], (method, key)
        prepared = {**cfg.data_preprocessor, **cfg.model.get('data_preprocessor', {})}
        assert prepared == byot.data_preprocessor


def test_schedule_of_the_full_scale():
    epochs = [
        method_config(SCALES[name], 'plain').train_cfg.max_epochs
        for name in ('cifar100', 'cifar100-60e')
    ]
    assert epochs == [250, 60]


def test_the_strong_recipes_are_what_the_table_calls_strided_ema():
    best = method_config(SCALES['cifar100'], 'byot-strided-ema')
    for data in ('tin32', 'cifar100'):
        strong = Config.fromfile(RECIPES / f'byot_resnet18_8xb16_{data}_strong.py')
        assert strong.model == best.model
        assert strong.default_hooks.ema == best.default_hooks.ema


def test_a_moving_average_is_over_as_many_epochs_at_each_scale():
    """About four, of 24 iterations at the small scale and 391 at the full."""
    for scale, iterations in (
        ('small', 24),
        ('small-b64', 47),
        ('cifar100', 391),
        ('cifar100-60e', 391),
    ):
        ema = method_config(SCALES[scale], 'plain-ema').default_hooks.ema
        assert 1 / ema.momentum / iterations == pytest.approx(4.2, abs=0.2)
        assert ema.update_buffers


def test_kept_images_are_not_trained_on():
    cfg = method_config(SCALES['small'], 'byot')
    hold_out_images(cfg, 2)
    train, test = (cfg[f'{name}_dataloader'].dataset.dataset for name in ('train', 'test'))
    assert (train.split, train.hold_out_every) == ('train', 2)
    assert (test.split, test.hold_out_every) == ('train', 2)
    assert test.held_out and not train.get('held_out')


def test_unused_images_are_those_after_the_ones_trained_on(images):
    cfg = method_config(
        SCALES['small'], 'byot', {'train_dataloader.dataset.dataset.samples_per_class': 3}
    )
    evaluate_on_unused(cfg)
    shown, unused = (
        DATASETS.build({**cfg[f'{name}_dataloader'].dataset.dataset, 'ann_file': images})
        for name in ('train', 'test')
    )
    assert (shown.split, unused.split) == ('train', 'train')
    # The images of a class come one after another, each brighter than the one before.
    assert shown[20]['img'].max() == shown[0]['img'].max() + 1
    assert [len(shown), len(unused)] == [60, 20]
    for label in range(20):
        assert unused[label]['img'].max() == 12 * label + 3


def losses(method, steps=2):
    """Of a batch of four, as MMEngine takes them."""
    scale = Scale(SCALES['small'].recipe)
    cfg = method_config(scale, method, {**NARROW, 'train_dataloader.batch_size': 4})
    torch.manual_seed(0)
    model = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **cfg.model})
    model.init_weights()
    model.train()
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    images = torch.arange(4 * 3 * 32 * 32).reshape(4, 3, 32, 32) * 7 % 256
    samples = [DataSample().set_gt_label(i) for i in range(4)]
    # Augmentation draws: the same for both.
    found = []
    for step in range(steps):
        torch.manual_seed(step)
        found.append(model.train_step(dict(inputs=images.byte(), data_samples=samples), optimizer))
    return [losses['loss'].item() for losses in found]


def test_mmrazors_classes_and_the_equal_recipe():
    """The second step shows that also the gradients are equal."""
    theirs, ours = losses('mmrazor'), losses('mmrazor-equal')
    assert theirs[0] != pytest.approx(theirs[1], rel=1e-2)
    assert ours == pytest.approx(theirs, rel=1e-4)
