"""The weights of classifiers without exits, under whatever names they were saved."""

import copy

import pytest
import torch
import torchvision
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from mmrazor_byot.errors import CheckpointError, ConfigError
from mmrazor_byot.models import BYOT
from mmrazor_byot.models.loading import load_byot
from mmrazor_byot.models.plain_weights import is_untrained
from mmrazor_byot.registry import MODELS

RESNET = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=5, in_channels=512),
)


@pytest.fixture(autouse=True)
def quiet():
    """MMEngine logs how each weight was initialized."""
    MMLogger.get_instance('mmengine').setLevel('WARNING')


@pytest.fixture
def classifier(tiny_architecture):
    """A plain classifier with batch norm statistics and biases of its own."""
    classifier = MODELS.build(tiny_architecture)
    with torch.no_grad():
        for name, value in classifier.state_dict().items():
            if name.endswith(('bias', 'running_mean')):
                value.normal_()
            if name.endswith('running_var'):
                value.uniform_(0.5, 2)
    return classifier.eval()


@pytest.fixture
def pretrained(tiny_architecture):
    """Builds BYOT with a checkpoint of its architecture, as the Runner does."""

    def build(path, architecture=tiny_architecture, **settings):
        architecture = copy.deepcopy(architecture)
        architecture['init_cfg'] = dict(type='Pretrained', checkpoint=str(path), **settings)
        model = BYOT(architecture)
        model.init_weights()
        return model.eval()

    return build


def prefixed(prefix):
    return lambda state: {prefix + name: value for name, value in state.items()}


FORMS = {
    'mmpretrain': lambda state: dict(meta={}, state_dict=state),
    'state dict': lambda state: state,
    'model': lambda state: dict(model=state, epoch=3),
    'model_state_dict': lambda state: dict(model_state_dict=state, optimizer={}),
    'DDP': lambda state: dict(state_dict=prefixed('module.')(state)),
    'compiled': prefixed('_orig_mod.'),
    'compiled DDP': prefixed('module._orig_mod.'),
    'wrapped': prefixed('model.'),
    'wrapped twice': prefixed('net.model.'),
    'of BYOT': lambda state: dict(state_dict=prefixed('architecture.')(state)),
    'old': lambda state: {k: v for k, v in state.items() if not k.endswith('_tracked')},
    'half': lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
}


@pytest.mark.parametrize('form', FORMS)
def test_each_weight_is_loaded(form, classifier, pretrained, batch, tmp_path):
    torch.save(FORMS[form](classifier.state_dict()), tmp_path / 'a.pth')
    model = pretrained(tmp_path / 'a.pth')
    loaded, half = model.architecture.state_dict(), form == 'half'
    for name, value in classifier.state_dict().items():
        if not name.endswith('_tracked'):
            torch.testing.assert_close(loaded[name], value, rtol=half * 2e-3, atol=half * 1e-6)
    images, _ = batch()
    if not half:
        assert torch.equal(model(images)[-1], classifier(images, mode='tensor'))


def test_a_prefix_chooses_the_weights(classifier, pretrained, tmp_path):
    """Of a whole BYOT network, or of any other model with more parts."""
    state = prefixed('student.')(classifier.state_dict())
    state['teacher.weight'] = torch.ones(3)
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    model = pretrained(tmp_path / 'a.pth', prefix='student.')
    torch.save(model.state_dict(), tmp_path / 'b.pth')
    again = pretrained(tmp_path / 'b.pth', prefix='architecture')
    for name, value in classifier.state_dict().items():
        assert torch.equal(model.architecture.state_dict()[name], value)
        assert torch.equal(again.architecture.state_dict()[name], value)
    with pytest.raises(CheckpointError, match='"tutor."; the first are .*student.backbone.conv1'):
        pretrained(tmp_path / 'a.pth', prefix='tutor')


def test_safetensors(classifier, pretrained, tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    save_file(classifier.state_dict(), tmp_path / 'a.safetensors')
    model = pretrained(tmp_path / 'a.safetensors')
    expected = classifier.head.fc.weight
    assert torch.equal(model.architecture.head.fc.weight, expected)
    data = (tmp_path / 'a.safetensors').read_bytes()
    (tmp_path / 'cut.safetensors').write_bytes(data[:-8])
    with pytest.raises(CheckpointError, match=r'cut.safetensors" \(\d+ bytes\) is truncated'):
        pretrained(tmp_path / 'cut.safetensors')


@pytest.mark.parametrize('kind', ['mmpretrain ResNet', 'torchvision', 'timm'])
def test_of_other_libraries(kind, pretrained, tmp_path):
    """torchvision's and timm's ResNet-18 have the same names, mmpretrain's others."""
    theirs = torchvision.models.resnet18(num_classes=5)
    if kind == 'timm':
        theirs = pytest.importorskip('timm').create_model('resnet18', num_classes=5)
    with torch.no_grad():
        for name, value in theirs.state_dict().items():
            if name.endswith(('bias', 'running_mean')):
                value.normal_()
    torch.save(theirs.state_dict(), tmp_path / 'a.pth')
    architecture = RESNET
    if kind != 'mmpretrain ResNet':
        network = dict(type='torchvision.models.resnet18', num_classes=5)
        if kind == 'timm':
            network = dict(type='timm.create_model', model_name='resnet18', num_classes=5)
        after = ['layer1', 'layer2', 'layer3']
        architecture = dict(type='mmrazor_byot.TorchClassifier', network=network, after=after)
    model = pretrained(tmp_path / 'a.pth', architecture)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images)[-1], theirs.eval()(images))
    assert model(images)[0].shape == (2, 5)


MISFITS = [
    (lambda s: s.pop('head.fc.bias'), 'missing: head.fc.bias'),
    (lambda s: s.update(x=torch.ones(1)), 'unexpected: x'),
    (
        lambda s: s.update({'head.fc.bias': torch.ones(7)}),
        'other shapes: head.fc.bias is (7,), not (5,)',
    ),
    (
        lambda s: s.update({'head.fc.bias': torch.ones(5, dtype=torch.int32)}),
        'is torch.int32, not floating point',
    ),
    (
        lambda s: [s.pop(k) for k in list(s) if 'layer4' in k],
        'missing: backbone.layer4.0.conv1.weight, backbone.layer4.0.bn1.weight, '
        'backbone.layer4.0.bn1.bias and ',
    ),
]


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('change, difference', MISFITS)
def test_what_does_not_fit_is_refused(change, difference, prefix, classifier, pretrained, tmp_path):
    state = dict(classifier.state_dict())
    change(state)
    torch.save(prefixed(prefix)(state), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError) as caught:
        pretrained(tmp_path / 'a.pth')
    assert difference in str(caught.value) and '\n' not in str(caught.value)
    assert 'a.pth' in str(caught.value)


def test_another_network_is_refused(pretrained, tmp_path):
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError) as caught:
        pretrained(tmp_path / 'a.pth')
    message = str(caught.value)
    assert 'does not fit the ImageClassifier: missing: backbone.conv1.weight, ' in message
    assert 'unexpected: features.0.weight, ' in message


def test_it_must_exist(pretrained, tmp_path):
    with pytest.raises(CheckpointError, match='none.pth" does not exist'):
        pretrained(tmp_path / 'none.pth')


@pytest.mark.parametrize(
    'init_cfg',
    [
        dict(type='Pretrained'),
        dict(type='Pretrained', checkpoint=None),
        dict(type='Pretrained', checkpoint='a.pth', prefixes='x'),
        [dict(type='Pretrained')],
    ],
)
def test_unknown_settings(init_cfg, tiny_architecture):
    tiny_architecture['init_cfg'] = init_cfg
    with pytest.raises(ConfigError, match='architecture.init_cfg=.*give the checkpoint'):
        BYOT(tiny_architecture)


def test_as_the_only_one_of_a_list(classifier, tiny_architecture, tmp_path):
    torch.save(classifier.state_dict(), tmp_path / 'a.pth')
    tiny_architecture['init_cfg'] = [dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'))]
    model = BYOT(tiny_architecture)
    model.init_weights()
    assert torch.equal(model.architecture.head.fc.bias, classifier.head.fc.bias)


def test_load_state_dict_takes_plain_weights(classifier, build_byot):
    model = build_byot()
    head = model.exit_heads[0].fc.weight.clone()
    missing, unexpected = model.load_state_dict(classifier.state_dict(), strict=False)
    assert unexpected == [] and {key.split('.')[0] for key in missing} == {'exit_heads'}
    assert torch.equal(model.architecture.head.fc.bias, classifier.head.fc.bias)
    assert torch.equal(model.exit_heads[0].fc.weight, head)


def refusal(checkpoint, tmp_path, architecture) -> str:
    """What a tool says that needs the weights of a whole BYOT network."""
    torch.save(checkpoint, tmp_path / 'a.pth')
    path = tmp_path / 'config.py'
    model = dict(type='mmrazor_byot.BYOT', architecture=architecture)
    Config(dict(model=model)).dump(path)
    with pytest.raises(CheckpointError) as caught:
        load_byot(Config.fromfile(path), str(tmp_path / 'a.pth'))
    start = f'checkpoint "{tmp_path}/a.pth" does not fit the model of {path}: '
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def test_testing_needs_the_exits(classifier, tiny_architecture, tmp_path):
    """Not the names of all weights of the heads."""
    state = classifier.state_dict()
    alone = 'it is the ImageClassifier alone, without exit heads: train them first, with load_from'
    for checkpoint in (state, dict(state_dict=prefixed('architecture.')(state))):
        assert refusal(checkpoint, tmp_path, tiny_architecture).startswith(alone)
    state = dict(state, **{'head.fc.bias': torch.ones(7)})
    assert refusal(state, tmp_path, tiny_architecture) == (
        'it has no exit heads; ImageClassifier: other shapes: head.fc.bias is (7,), not (5,)'
    )


def test_networks_that_know_nothing():
    """Their norm layers are as they were made."""
    net = torchvision.models.resnet18()
    assert is_untrained(net)
    net.layer3[0].bn1.running_mean[3] = 0.1
    assert not is_untrained(net)
    net = torchvision.models.convnext_tiny()
    assert is_untrained(net)
    nn.init.constant_(net.features[1][0].block[2].bias, 0.1)
    assert not is_untrained(net)
    assert not is_untrained(nn.Linear(2, 2))  # that can only be guessed
