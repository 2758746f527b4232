"""Every recipe builds, trains a step, predicts, and says what it is."""
import ast
import re

import pytest
import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample
from peers import MMRAZOR_CONFIG
from run import RECIPES

from mmrazor_byot.registry import DATASETS, MODELS

CONFIGS = sorted(RECIPES.glob('*.py'))
NAME = re.compile(
    r'(?P<method>byot|byot_logits|byot_mmrazor|plain|deep-supervision)_(?P<net>resnet\d+)'
    r'_(?:(?P<data1>[a-z0-9]+)_)?(?P<gpus>\d+)xb(?P<batch>\d+)_'
    r'(?P<data2>[a-z0-9-]+)')


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def recipe(request):
    return request.param.stem, Config.fromfile(request.param)


def test_one_step_and_one_prediction(recipe):
    name, cfg = recipe
    model = MODELS.build({
        **cfg.model, 'data_preprocessor':
        dict(type='ClsDataPreprocessor', **cfg.data_preprocessor)
    })
    classes = model.head.num_classes if name.startswith(
        'plain') else model.num_classes
    samples = [
        DataSample().set_gt_label(torch.tensor([i])) for i in (0, classes - 1)
    ]
    data = dict(
        inputs=torch.randint(0, 256, (2, 3, 32, 32)), data_samples=samples)
    model.train()
    from mmengine.optim import OptimWrapper
    before = {k: v.clone() for k, v in model.named_parameters()}
    log = model.train_step(
        data,
        OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01)))
    expected = {'plain': 1, 'deep-supervision': 5, 'byot_mmrazor': 10}
    assert len(log) == expected.get(NAME.fullmatch(name)['method'], 11)
    assert torch.isfinite(log['loss'])
    moved = [k for k, v in model.named_parameters()
             if not torch.equal(v, before[k])]
    assert len(moved) >= 0.9 * len(before)
    model.eval()
    with torch.no_grad():
        answers = model.test_step(data)
    assert answers[1].pred_score.sum().item() == pytest.approx(1, abs=1e-5)
    assert answers[1].pred_score.shape == (classes, )


def test_the_name_tells_the_batch(recipe):
    name, cfg = recipe
    parts = NAME.fullmatch(name)
    assert parts, name
    assert cfg.train_dataloader.batch_size == int(parts['batch'])
    assert cfg.auto_scale_lr.base_batch_size == int(parts['gpus']) * int(
        parts['batch'])


def test_nothing_is_tested_on_what_it_is_trained_on(recipe):
    _, cfg = recipe
    train, val, test = (cfg[f'{s}_dataloader'].dataset
                        for s in ('train', 'val', 'test'))
    assert (train.split, val.split, test.split) == ('train', 'test', 'test')
    assert DATASETS.get(train.type) is DATASETS.get(test.type)
    assert [t.type for t in test.pipeline] == ['PackInputs']


def test_twins_differ_in_the_model_alone():
    for data in ('8xb16_tin32', '2xb64_digits'):
        byot, plain, deep = (
            Config.fromfile(RECIPES / f'{method}_resnet18_{data}.py').to_dict()
            for method in ('byot', 'plain', 'deep-supervision'))
        models = [cfg.pop('model') for cfg in (byot, plain, deep)]
        for cfg in (byot, plain, deep):
            del cfg['architecture']  # what the model was made of
        assert byot == plain == deep
        models[1]['head']['in_channels'] = None
        assert models[1] == models[0]['architecture'] == models[2][
            'architecture']
        assert models[2]['logit_loss'] is models[2]['hint_loss'] is None
        assert models[2]['label_loss']['loss_weight'] == 1


def test_cifar_recipe_is_the_documented_one():
    cfg = Config.fromfile(
        RECIPES / 'byot_logits_resnet18_cifar100_8xb16_in1k.py')
    kinds = [t.type for t in cfg.train_dataloader.dataset.pipeline]
    assert kinds == [
        'RandomCrop', 'RandomFlip', 'AutoAugment', 'Cutout', 'PackInputs'
    ]
    crop, _, augment, cutout, _ = cfg.train_dataloader.dataset.pipeline
    assert (crop.padding, cutout.shape, cutout.prob) == (4, 16, 1.0)
    assert len(augment.policies) == 25
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)
    assert cfg.train_cfg.max_epochs == 250
    assert cfg.param_scheduler.milestones == [250 // 3, 500 // 3, 240]
    assert cfg.model.logit_loss.temperature == 3
    assert cfg.model.label_loss.loss_weight == pytest.approx(1 - 0.3)
    assert cfg.model.logit_loss.loss_weight == 0.3
    assert cfg.model.hint_loss.loss_weight == 0.03


def test_mmrazors_recipe_is_the_one_it_ships():
    ours = Config.fromfile(
        RECIPES / 'byot_mmrazor_resnet18_8xb16_cifar100.py')
    # As text: what it inherits from mmcls is no longer installed.
    text = re.sub(r'_base_ = \[.*?\]\n', '', MMRAZOR_CONFIG.read_text(),
                  flags=re.S)
    theirs = Config.fromstring(text, '.py')
    assert ours.optim_wrapper == theirs.optim_wrapper
    assert ours.param_scheduler == theirs.param_scheduler
    assert ours.train_cfg == theirs.train_cfg
    data = Config.fromfile(MMRAZOR_CONFIG.parents[3] / '_base_' / 'datasets' /
                           'mmcls' / 'cifar100_bs16_auto_aug.py')
    *transforms, pack = data.train_dataloader.dataset.pipeline
    policies = ours.train_dataloader.dataset.pipeline[3].policies
    for step in (step for policy in policies for step in policy):
        assert step.pop('_scope_') == 'mmpretrain'
    assert ours.train_dataloader.dataset.pipeline[:-1] == transforms
    assert ours.train_dataloader.batch_size == data.train_dataloader.batch_size
    for name in ('mean', 'std', 'to_rgb'):
        assert ours.data_preprocessor[name] == data.preprocess_cfg[name]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_recipes_are_short(path):
    lines = [s for s in path.read_text().splitlines()
             if s.strip() and not s.startswith('#')]
    assert len(lines) <= 15
    ast.parse(path.read_text())
