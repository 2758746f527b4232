"""Every recipe says what it is; the twins learn what they should.

Whether the networks of BYOT's own recipes work is in test_networks.py.
"""

import re

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample
from peers import MMRAZOR_CONFIG
from recipes import ALL, BYOT, load
from run import RECIPES, ROOT

from mmrazor_byot.datasets import gives_batches, image_settings, per_image
from mmrazor_byot.registry import MODELS

TWINS = sorted(set(ALL) - set(BYOT))
NAME = re.compile(
    r'(byot|byot_logits|byot_mmrazor|plain|deep-supervision)'
    r'_[a-z][a-z0-9-]+_(?:[a-z0-9]+_)?(?P<gpus>\d+)xb(?P<batch>\d+)_'
    r'[a-z0-9-]+(?:_strong)?'
)


@pytest.fixture(params=ALL)
def recipe(request):
    return request.param, load(request.param)


@pytest.mark.parametrize('name', TWINS)
def test_one_step_and_one_prediction_of_a_twin(name):
    cfg = load(name)
    model = MODELS.build(
        {**cfg.model, 'data_preprocessor': {'type': 'ClsDataPreprocessor', **cfg.data_preprocessor}}
    )
    classes = model.head.num_classes if name.startswith('plain') else model.num_classes
    samples = [DataSample().set_gt_label(torch.tensor([i])) for i in (0, classes - 1)]
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    data = dict(inputs=images, data_samples=samples)
    model.train()
    before = {k: v.clone() for k, v in model.named_parameters()}
    log = model.train_step(data, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01)))
    assert len(log) == (1 if name.startswith('plain') else 5)
    assert torch.isfinite(log['loss'])
    moved = [k for k, v in model.named_parameters() if not torch.equal(v, before[k])]
    assert len(moved) >= 0.9 * len(before)
    model.eval()
    with torch.no_grad():
        answers = model.test_step(data)
    assert answers[1].pred_score.sum().item() == pytest.approx(1, abs=1e-5)
    assert answers[1].pred_score.shape == (classes,)


def test_the_name_tells_the_batch(recipe):
    name, cfg = recipe
    parts = NAME.fullmatch(name)
    assert parts, name
    assert cfg.train_dataloader.batch_size == int(parts['batch'])
    assert cfg.auto_scale_lr.base_batch_size == int(parts['gpus']) * int(parts['batch'])


def test_nothing_is_tested_on_what_it_is_trained_on(recipe):
    _, cfg = recipe
    train, val, test = (
        image_settings(cfg[f'{s}_dataloader'].dataset) for s in ('train', 'val', 'test')
    )
    unseen = 'val' if train.type == 'ImageNet' else 'test'
    assert (train.split, val.split, test.split) == ('train', unseen, unseen)
    assert train.type == val.type == test.type
    val, test = (per_image(cfg[f'{s}_dataloader']).dataset for s in ('val', 'test'))
    for step in (*val.pipeline, *test.pipeline):  # and nothing is left to luck
        step.type = step.type.removeprefix('mmpretrain.')
        assert step.type in ('PackInputs', 'LoadImageFromFile', 'ResizeEdge', 'CenterCrop')


def test_every_exit_is_scored_losses_are_checked_and_epochs_seeded(recipe):
    _, cfg = recipe
    assert any(hook.type == 'mmrazor_byot.FiniteLossHook' for hook in cfg.custom_hooks)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        if evaluator.type == 'mmrazor_byot.BatchEvaluator':
            evaluator = evaluator.metrics
        assert evaluator == dict(type='mmrazor_byot.ExitAccuracy', topk=(1, 5))
    if cfg.train_dataloader.num_workers:  # see EpochSeedHook
        assert cfg.train_dataloader.persistent_workers is False
        assert cfg.train_dataloader.worker_init_fn.type == 'mmrazor_byot.seed_worker'


def test_bases_inherit_from_openmmlab_alone():
    for path in (ROOT / 'configs/_base_').rglob('*.py'):
        bases = re.findall(r'^_base_ = (.*)$', path.read_text(), re.M)
        assert all(re.match(r"'(mmpretrain|mmrazor)::", base) for base in bases), path


def test_twins_differ_in_the_model_alone():
    for data in ('resnet18_8xb16_tin32', 'resnet18_2xb64_digits', 'resnet18-fast_1xb128_tin32'):
        byot, plain, deep = (
            load(f'{method}_{data}').to_dict() for method in ('byot', 'plain', 'deep-supervision')
        )
        models = [cfg.pop('model') for cfg in (byot, plain, deep)]
        assert byot == plain == deep
        models[1]['head']['in_channels'] = None
        if 'fast' in data:  # what exits have no need of
            head = models[1]['head']
            assert head['type'] == 'mmrazor_byot.BatchLinearClsHead'
            head['type'] = 'LinearClsHead'
        assert models[1] == models[0]['architecture'] == models[2]['architecture']
        assert models[2]['logit_loss'] is models[2]['hint_loss'] is None
        assert models[2]['label_loss']['loss_weight'] == 1


FAST = {
    name: name.replace('-fast', '').replace('1xb128', '8xb16') for name in ALL if '-fast' in name
}
LOADERS = tuple(f'{s}_dataloader' for s in ('train', 'val', 'test', 'calibration'))


@pytest.mark.parametrize('name', FAST)
def test_a_fast_recipe_differs_in_how_its_data_comes(name):
    fast, slow = load(name), load(FAST[name])
    for key in (
        'train_cfg',
        'optim_wrapper',
        'param_scheduler',
        'auto_scale_lr',
        'custom_hooks',
        'default_hooks',
        'randomness',
    ):
        assert fast.get(key) == slow.get(key)
    if not name.startswith('plain'):
        assert fast.model == slow.model
    for key in LOADERS:
        assert gives_batches(fast[key].dataset)
        assert fast[key].num_workers == 0 and not fast[key].pin_memory
        assert fast[key].sampler == slow[key].sampler
        mine, theirs = (dict(per_image(cfg[key]).dataset) for cfg in (fast, slow))
        mine.pop('pipeline'), theirs.pop('pipeline')
        assert mine == theirs
    ours, theirs = dict(fast.data_preprocessor), dict(slow.data_preprocessor)
    transforms = ours.pop('transforms')
    assert ours.pop('type') == 'mmrazor_byot.BatchDataPreprocessor'
    assert ours == theirs
    # The same augmentation, step by step.
    steps = [dict(t, type=t.type.replace('mmrazor_byot.Batch', '')) for t in transforms]
    assert [*steps, dict(type='PackInputs')] == slow.train_dataloader.dataset.pipeline


def test_cifar_recipe_is_the_documented_one():
    cfg = load('byot_logits_resnet18_cifar100_8xb16_in1k')
    kinds = [t.type for t in cfg.train_dataloader.dataset.pipeline]
    assert kinds == ['RandomCrop', 'RandomFlip', 'AutoAugment', 'Cutout', 'PackInputs']
    crop, _, augment, cutout, _ = cfg.train_dataloader.dataset.pipeline
    assert (crop.padding, cutout.shape, cutout.prob) == (4, 16, 1.0)
    assert len(augment.policies) == 25
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)
    assert cfg.train_cfg.max_epochs == 250
    assert cfg.param_scheduler.milestones == [250 // 3, 500 // 3, 240]
    assert cfg.model.logit_loss.temperature == 3
    assert cfg.model.label_loss.loss_weight == pytest.approx(1 - 0.3)
    assert cfg.model.logit_loss.loss_weight == 0.3
    assert cfg.model.hint_loss.loss_weight == 0.03


def test_mmrazors_recipe_is_the_one_it_ships():
    ours = load('byot_mmrazor_resnet18_8xb16_cifar100')
    # As text: what it inherits from mmcls is no longer installed.
    text = re.sub(r'_base_ = \[.*?\]\n', '', MMRAZOR_CONFIG.read_text(), flags=re.S)
    theirs = Config.fromstring(text, '.py')
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert ours[key] == theirs[key]
    data = Config.fromfile(
        MMRAZOR_CONFIG.parents[3] / '_base_' / 'datasets' / 'mmcls' / 'cifar100_bs16_auto_aug.py'
    )
    *transforms, pack = data.train_dataloader.dataset.pipeline
    policies = ours.train_dataloader.dataset.pipeline[3].policies
    for step in (step for policy in policies for step in policy):
        assert step.pop('_scope_') == 'mmpretrain'
    assert ours.train_dataloader.dataset.pipeline[:-1] == transforms
    assert ours.train_dataloader.batch_size == data.train_dataloader.batch_size
    for name in ('mean', 'std', 'to_rgb'):
        assert ours.data_preprocessor[name] == data.preprocess_cfg[name]


@pytest.mark.parametrize('name', ALL)
def test_recipes_are_short(name):
    text = (RECIPES / f'{name}.py').read_text()
    lines = [s for s in text.splitlines() if s.strip() and not s.startswith('#')]
    assert len(lines) <= 15
    if name in BYOT:  # channels are found
        assert not re.search(r'(in|out)_channels=\d', text)
