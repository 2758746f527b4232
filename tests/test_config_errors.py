"""What is said of settings that cannot be built: the key, and what is meant."""

import inspect
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import HOOKS, PARAM_SCHEDULERS, init_default_scope
from mmengine.runner import Runner
from run import DIGITS, NARROW

from mmrazor_byot.config_errors import MESSAGES, config_errors
from mmrazor_byot.config_file import load_config
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.loading import build_model


def said(build, *args):
    with pytest.raises(ConfigError) as caught, config_errors():
        build(*args)
    return str(caught.value)


@pytest.mark.parametrize(
    'key, value, line',
    [
        ('type', 'BYOT', 'there is no model BYOT; is mmrazor_byot.BYOT meant?'),
        ('exit_haed.reduction', 2, 'mmrazor_byot.BYOT: it has no argument exit_haed; is exit_head'),
        (
            'label_loss.loss_weigt',
            2,
            'model.label_loss: mmrazor_byot.LabelLoss: it has no argument',
        ),
        ('label_loss.loss_weight', 'x', 'LabelLoss: TypeError: '),
        ('architecture.backbone.type', 'ResNet_CIFR', 'is ResNet_CIFAR meant?'),
        ('architecture.backbone.depth', 19, 'ResNet_CIFAR: KeyError: invalid depth 19'),
        ('architecture.backbone.norm_cfg.type', 'FooBN', "norm_cfg.type='FooBN' does not exist"),
        ('architecture.backbone.in_channels', 1, 'input_size=(3, 32, 32)'),
        ('architecture.head.num_classes', 0, 'model.architecture.head: LinearClsHead: ValueError'),
        ('architecture.neck.type', 'Foo', 'no model Foo; check its name, and custom_imports'),
        (
            'data_preprocessor.men',
            1,
            'data_preprocessor: mmpretrain.ClsDataPreprocessor: it has no',
        ),
    ],
)
def test_model(key, value, line):
    options = {**NARROW, f'model.{key}': value}
    assert line in said(build_model, load_config(DIGITS, options))


@pytest.mark.parametrize(
    'key, value, line',
    [
        ('dataset.type', 'Digts', 'dataset: Digts: there is no dataset Digts; is mmrazor_byot.D'),
        ('dataset.splitt', 'x', 'test_dataloader.dataset: mmrazor_byot.Digits: it has no argument'),
        ('dataset.pipeline.0.type', 'Foo', 'there is no transform Foo'),
        ('sampler.shufle', True, 'DefaultSampler: it has no argument shufle; is shuffle meant?'),
        ('collate_fn.type', 'foo', "test_dataloader: collate_fn.type='foo' does not exist"),
        ('timeout', -1, 'test_dataloader: ValueError: timeout'),
    ],
)
def test_loader(key, value, line):
    cfg = load_config(DIGITS, {f'test_dataloader.{key}': value})
    init_default_scope(cfg.default_scope)
    assert line in said(lambda whole: Runner.build_dataloader(whole.test_dataloader), cfg)


@pytest.mark.parametrize(
    'cfg, line',
    [
        (dict(optimizer=dict(type='SDG', lr=1)), "optimizer.type='SDG' does not exist; is SGD"),
        (dict(optimizer=dict(type='SGD', lrr=1)), 'SGD: it has no argument lrr; is lr meant?'),
        (dict(type='OptimWraper', optimizer=dict(type='SGD', lr=1)), 'is OptimWrapper meant?'),
    ],
)
def test_optimizer(cfg, line):
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1))
    assert line in said(Runner.build_optim_wrapper, runner, Config(cfg)._cfg_dict)


def test_others():
    hook = dict(type='CheckpointHok')
    assert 'no hook CheckpointHok; is CheckpointHook meant?' in said(HOOKS.build, hook)
    assert "a hook needs a type, but there are only ['a']" in said(HOOKS.build, dict(a=1))
    scheduler = dict(type='LinearR')
    assert 'parameter scheduler LinearR; is LinearLR' in said(PARAM_SCHEDULERS.build, scheduler)
    assert said(lambda: Config().test_dataloader).startswith('the config has no test_dataloader')
    images = [torch.zeros(3, 4, 4), torch.zeros(3, 5, 4)]
    line = said(torch.stack, images)
    assert 'sizes [3, 4, 4] and [3, 5, 4]: end the pipeline' in line


@pytest.mark.parametrize(
    'run, line',
    [
        (lambda: F.conv2d(torch.zeros(1, 3, 2, 2), torch.zeros(4, 3, 3, 3)), 'are smaller than'),
        (lambda: F.max_pool2d(torch.zeros(1, 3, 1, 1), 2), 'are smaller than the network needs'),
        (
            lambda: F.cross_entropy(torch.zeros(2, 9), torch.tensor([0, 1]), torch.ones(2)),
            'class_weight of a loss has 2 numbers for 9 classes',
        ),
    ],
)
def test_messages_of_torch(run, line):
    """They are torch's own, so that a new text of a release is noticed."""
    assert line in said(run)


def test_message_of_torch_on_two_processes():
    (message,) = (text for text in MESSAGES if 'SyncBatchNorm' in text)
    assert message in inspect.getsource(torch.nn.SyncBatchNorm)


def test_bugs_stay():
    with pytest.raises(ZeroDivisionError), config_errors():
        1 / 0  # noqa: B018
