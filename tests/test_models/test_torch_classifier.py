"""A network of torchvision, timm or one's own as the architecture of BYOT."""

import copy

import pytest
import torch
from mmpretrain.structures import DataSample
from short_runs import EMA, GRAPHS, MODEL, Noise, saved, train
from torch import nn

from mmrazor_byot.early_exit import StagedNetwork
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models import BYOT
from mmrazor_byot.registry import MODELS

AFTER = ['0.relu']


class Small(nn.Sequential):
    """Two stages of 8 and 16 channels, and weights of its own.

    Args:
        num_classes (int): How many.
    """

    def __init__(self, num_classes: int = 5):
        first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        first.add_module('relu', nn.ReLU(inplace=True))
        second = nn.Sequential(nn.Conv2d(8, 16, 3, 2, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        super().__init__(first, second, *pool, nn.Linear(16, num_classes))

    def init_weights(self):
        """As timm's have it: MMEngine would call it."""
        raise AssertionError('the weights are drawn anew')


def architecture(**settings) -> dict:
    network = dict(type=f'{__name__}.Small')
    return {**dict(type='mmrazor_byot.TorchClassifier', network=network, after=AFTER), **settings}


def model(**settings) -> dict:
    return dict(MODEL, architecture=architecture(), **settings)


@pytest.mark.parametrize(
    'network',
    [
        dict(type=f'{__name__}.Small', num_classes=7),
        dict(type=Small, num_classes=7),
        Small(7),
    ],
    ids=['path', 'class', 'built'],
)
def test_how_it_is_given(network):
    byot = BYOT(architecture(network=network), input_size=16)
    assert isinstance(byot.architecture.model, Small)
    assert (byot.num_exits, byot.num_classes) == (2, 7)
    head = byot.exit_heads[0]
    assert head.bottleneck[0].conv.in_channels == 8
    assert head.bottleneck[1].conv.stride == (2, 2)
    assert head.fc.in_features == 16


def test_the_weights_are_left_as_they_are_built():
    """Frozen or not; MMEngine initializes what a config builds."""
    for frozen in (False, True):
        byot = BYOT(architecture(), input_size=16, freeze_architecture=frozen)
        before = copy.deepcopy(byot.architecture.state_dict())
        byot.init_weights()
        for name, value in byot.architecture.state_dict().items():
            assert torch.equal(value, before[name]), name


def test_it_is_trained_by_the_runner(tmp_path):
    runner = train(tmp_path / 'run', 2, model=model(), hooks=[EMA])
    state = saved(runner, 2)['state_dict']
    assert 'architecture.model.0.0.weight' in state and 'exit_heads.0.fc.weight' in state
    assert state.keys() == runner.model.state_dict().keys()
    fresh = Small().state_dict().keys()
    assert {k for k in state if k.startswith('architecture.')} == {
        f'architecture.model.{k}' for k in fresh
    }
    other = MODELS.build(copy.deepcopy(model()))
    other.load_state_dict(runner.model.state_dict())
    x = Noise(6).images.float()
    for a, b in zip(other.eval()(x), runner.model.eval()(x), strict=True):
        assert torch.equal(a, b)


def test_compiled_it_trains_as_without(tmp_path):
    plain = train(tmp_path / 'plain', 1, model=model())
    GRAPHS.clear()
    compiled = train(tmp_path / 'compiled', 1, model=model(), compile=dict(backend='counted'))
    assert GRAPHS == [8]
    states = [saved(runner, 1)['state_dict'] for runner in (plain, compiled)]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_its_loss_and_mixup():
    """Its own loss is the deepest exit's, and its train_cfg the preprocessor's."""
    loss = dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, num_classes=5)
    augments = dict(augments=[dict(type='Mixup', alpha=0.8)])
    settings = architecture(loss=loss, train_cfg=augments)
    byot = BYOT(settings, input_size=16, data_preprocessor=dict(num_classes=5))
    x, y = torch.randn(6, 3, 16, 16), torch.arange(6) % 5
    log_q = byot(x)[-1].log_softmax(1)
    expected = -(0.9 * log_q[range(6), y] + 0.1 * log_q.mean(1)).mean()
    torch.testing.assert_close(byot.loss_terms(x, y)['exit2.label_loss'], expected)
    samples = [DataSample().set_gt_label(int(i)) for i in y]
    mixed = byot.data_preprocessor(dict(inputs=x, data_samples=samples), training=True)
    assert mixed['data_samples'][0].gt_score.shape == (5,)


def test_copies_are_independent():
    byot = BYOT(architecture(), input_size=16).eval()
    other, x = copy.deepcopy(byot), torch.randn(2, 3, 16, 16)
    expected = byot(x)
    with torch.no_grad():
        other.architecture.model[0][0].weight.zero_()
    assert all(map(torch.equal, byot(x), expected))
    assert not torch.equal(other(x)[0], expected[0])


def test_alone_it_is_a_classifier_of_mmpretrain(batch):
    classifier = MODELS.build(architecture()).eval()
    x, samples = batch()
    logits = classifier.model(x)
    expected = nn.functional.cross_entropy(logits, torch.arange(6) % 5)
    torch.testing.assert_close(classifier.loss(x, samples)['loss'], expected)
    answers = classifier.predict(x, samples)
    assert [a.pred_label.item() for a in answers] == logits.argmax(1).tolist()


@torch.no_grad()
def test_early_exit():
    byot = BYOT(architecture(), input_size=16).eval()
    x = torch.randn(3, 3, 16, 16)
    for a, b in zip(StagedNetwork(byot)(x), byot(x), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    'settings, part',
    [
        (
            dict(network='torchvision.models.resnet18'),
            "resnet18': give its type",
        ),
        (dict(network=dict(num_classes=5)), "network={'num_classes': 5}: give its type"),
        (dict(network=dict(type='torchvision.models.resnet19')), 'no such class or function'),
        (
            dict(network=dict(type='nosuch.resnet18')),
            'nosuch.resnet18({}) failed: ImportError: no such',
        ),
        (dict(network=dict(type='torchvision.models')), 'no such class or function'),
        (dict(network=dict(type='builtins.dict')), 'builtins.dict makes a dict'),
        (dict(network=dict(type=f'{__name__}.Small', classes=5)), "argument 'classes'"),
        (dict(after='0.relu'), "after='0.relu': give a list of names"),
        (dict(after=['0.rel']), "Small has no module '0.rel'; similar are ['0.relu'"),
        (dict(after=['1', '0']), "Small runs these modules in the order ['0', '1']"),
        (dict(after=['3']), "'3' of Small returns (1, 16); sections end with a feature map"),
    ],
)
def test_refused(settings, part):
    with pytest.raises(ConfigError) as caught:
        BYOT(architecture(**settings), input_size=16)
    assert part in str(caught.value) and '\n' not in str(caught.value)


def test_sections_are_named_by_after():
    with pytest.raises(ConfigError, match='set after=.* of the TorchClassifier instead'):
        BYOT(architecture(), input_size=16, sections=(0, 1))
    with pytest.raises(ConfigError, match='Small cannot run on an image of input_size'):
        BYOT(architecture(), input_size=(1, 16, 16))
