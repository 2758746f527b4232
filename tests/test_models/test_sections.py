"""What does not fit says so, once and by name."""

import pytest
import torch
from torch import nn

from mmrazor_byot.errors import ConfigError


class ThreeLogits(nn.Module):
    """A head that answers with the wrong number of classes."""

    classes = 3

    def __init__(self, in_channels):
        super().__init__()
        self.fc = nn.Linear(in_channels, self.classes)

    def forward(self, x):
        feature = x.mean(dim=(2, 3))
        return feature, self.fc(feature)


class OtherFeature(ThreeLogits):
    """Right classes, but a feature that is not the deepest's size."""

    classes = 5


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(sections=(0, 1, 2, 3, 4)), r'ResNet_CIFAR.*\(0, 1, 2, 3, 4\)'),
        (dict(sections=(3,)), r'sections=\(3,\): name at least two'),
        (dict(sections=(1, 0)), 'in rising order'),
        (dict(sections=(2, 2)), 'in rising order'),
        (dict(exit_head=[dict(type=ThreeLogits)] * 2), 'exit_head lists 2 .*3 shallow exits'),
        (dict(hint_loss=[None] * 4), 'hint_loss lists 4 configs'),
        (
            dict(exit_head=dict(type=ThreeLogits)),
            r'exit head 1 \(ThreeLogits\) returns logits \(1, 3\).*\(1, 5\)',
        ),
        (
            dict(exit_head=dict(type=OtherFeature)),
            r'returns a feature \(1, 4\).*\(1, 32\).*hint_loss=None',
        ),
        (
            dict(exit_head=dict(type='mmrazor.BYOTConnector', expansion=4)),
            r'BYOTConnector\) cannot take the feature map \(1, 4, 32, 32\)',
        ),
        (dict(input_size=(1, 2, 3, 4)), r'give S, \(H, W\) or'),
        (dict(input_size=0), 'all positive'),
    ],
)
def test_settings_that_do_not_fit(build_byot, settings, message):
    with pytest.raises(ConfigError, match=message):
        build_byot(**settings)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(head=dict(in_channels=64)), 'set its in_channels=32'),
        (dict(neck=None), 'give the architecture a neck'),
        (dict(head=None), 'without head cannot teach itself'),
        (dict(backbone=dict(out_indices=(0, 7))), r'out_indices=\(0, 7\)'),
    ],
)
def test_architectures_that_do_not_fit(build_byot, tiny_architecture, change, message):
    for part, value in change.items():
        if value is None:
            tiny_architecture[part] = None
        else:
            tiny_architecture[part].update(value)
    with pytest.raises(ConfigError, match=message):
        build_byot(architecture=tiny_architecture)


def test_a_feature_of_another_size_is_fine_without_hints(build_byot, batch):
    model = build_byot(exit_head=dict(type=OtherFeature), hint_loss=None)
    assert torch.isfinite(sum(model.loss(*batch()).values()))


def test_a_built_classifier_can_be_given(build_byot, tiny_architecture):
    from mmpretrain.registry import MODELS

    classifier = MODELS.build(tiny_architecture)
    model = build_byot(architecture=classifier)
    assert model.architecture is classifier
    assert classifier.backbone.out_indices == (0, 1, 2, 3)


@pytest.mark.parametrize(
    'input_size, expected', [(32, (3, 32, 32)), ((48, 64), (3, 48, 64)), ([3, 16, 16], (3, 16, 16))]
)
def test_image_sizes(build_byot, input_size, expected):
    assert build_byot(input_size=input_size).input_size == expected


def test_channels_of_the_head_are_found(build_byot, tiny_architecture, batch):
    tiny_architecture['head']['in_channels'] = None
    model = build_byot(architecture=tiny_architecture)
    assert model.architecture.head.fc.in_features == 32
    assert tiny_architecture['head']['in_channels'] is None
    assert torch.isfinite(sum(model.loss(*batch()).values()))
