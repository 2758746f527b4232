"""The deepest exit is trained as its classifier alone would be, or is refused."""

import copy

import pytest
import torch
from mmpretrain.models.heads import LinearClsHead

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.head_loss import check_head_loss
from mmrazor_byot.registry import MODELS

LINEAR = dict(type='LinearClsHead')


def head(type, **settings):
    return MODELS.build(dict(type=type, num_classes=5, in_channels=32, **settings))


@pytest.mark.parametrize(
    'settings',
    [
        LINEAR,
        dict(LINEAR, loss=dict(type='CrossEntropyLoss', class_weight=[1, 2, 3, 4, 5.0])),
        dict(LINEAR, loss=dict(type='CrossEntropyLoss', use_sigmoid=True)),  # of Mixup alone
        dict(LINEAR, loss=dict(type='CrossEntropyLoss', use_soft=True)),
        dict(LINEAR, loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1)),
        dict(LINEAR, loss=dict(type='FocalLoss')),
        dict(LINEAR, loss=dict(type='SeesawLoss', num_classes=5)),  # counts what it has seen
        dict(LINEAR, cal_acc=True),
        dict(type='mmrazor_byot.BatchLinearClsHead'),
        dict(type='StackedLinearClsHead', mid_channels=[8], dropout_rate=0.5),
        dict(type='VisionTransformerClsHead', hidden_dim=8),
        dict(type='VigClsHead', dropout=0.5),
        dict(type='LeViTClsHead', distillation=False),
        dict(type='EfficientFormerClsHead', distillation=False),
    ],
)
def test_heads_of_one_class(settings):
    own = head(**settings)
    before = copy.deepcopy(own.state_dict())
    check_head_loss(own, torch.zeros(1, 32), 5)
    assert own.training
    assert all(torch.equal(v, before[k]) for k, v in own.state_dict().items())


class WithMargin(LinearClsHead):
    """Its own loss is three higher."""

    def _get_loss(self, cls_score, data_samples, **kwargs):
        losses = super()._get_loss(cls_score, data_samples, **kwargs)
        return dict(loss=losses['loss'] * 0 + 5, extra_loss=losses['loss'] * 0 + 1.5)


REFUSED = {
    'ArcFaceClsHead': 'on random features its loss is',
    'MultiLabelLinearClsHead': 'for one class an image',
    'CSRAClsHead': 'takes one vector an image',
    'DeiTClsHead': 'takes one vector an image',
    'LeViTClsHead': 'support training in distillation mode',
    'EfficientFormerClsHead': 'support to train the distilled version',
}


@pytest.mark.parametrize('name', REFUSED)
def test_other_heads_are_refused(build_byot, tiny_architecture, name):
    more = dict(num_heads=1, lam=0.1) if name == 'CSRAClsHead' else {}
    tiny_architecture['head'] = dict(type=name, num_classes=5, in_channels=32, **more)
    with pytest.raises(ConfigError, match=REFUSED[name]) as caught:
        build_byot(architecture=tiny_architecture)
    message = str(caught.value)
    assert f'the head {name} cannot' in message and 'such as LinearClsHead' in message
    assert '\n' not in message


def test_the_two_losses_are_shown():
    own = WithMargin(5, 32)
    torch.nn.init.zeros_(own.fc.weight)
    torch.nn.init.zeros_(own.fc.bias)
    with pytest.raises(ConfigError, match=r'its loss is 6.5, that of its loss_module 1.609\)'):
        check_head_loss(own, torch.zeros(1, 32), 5)  # log 5


@pytest.mark.parametrize('loss', [dict(use_sigmoid=True), dict(use_soft=True), dict()])
def test_the_loss_of_the_classifier_alone(build_byot, tiny_architecture, batch, loss):
    """The mean over samples, not over classes too."""
    tiny_architecture['head']['loss'] = dict(type='CrossEntropyLoss', **loss)
    model = build_byot(architecture=tiny_architecture).eval()
    images, samples = batch()
    for sample in samples:
        sample.set_gt_score(torch.rand(5).softmax(0))
    alone = model.architecture.loss(images, samples)['loss']
    assert torch.allclose(model.loss(images, samples)['exit4.label_loss'], alone, rtol=1e-5)
