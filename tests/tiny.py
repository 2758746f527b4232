"""A network and images small enough for any test."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope, init_default_scope
from mmpretrain.structures import DataSample

from mmrazor_byot.registry import MODELS

#: ResNet-18 with 4 channels in the stem: 4, 8, 16, 32 after the stages.
TINY = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead', num_classes=5, in_channels=32, loss=dict(type='CrossEntropyLoss')
    ),
)


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    """Bare type names are mmpretrain's, as in the configs."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def tiny_architecture() -> dict:
    """Config of a classifier of 5 classes, small enough for any test."""
    return copy.deepcopy(TINY)


@pytest.fixture
def build_byot(tiny_architecture):
    """Builds BYOT around the tiny classifier; settings as keywords."""

    def build(**settings):
        return MODELS.build(
            {'type': 'mmrazor_byot.BYOT', 'architecture': tiny_architecture, **settings}
        )

    return build


@pytest.fixture
def batch():
    """Returns images (N, 3, 32, 32) and their labelled data samples."""

    def make(n: int = 6, num_classes: int = 5, size: int = 32):
        generator = torch.Generator().manual_seed(1)
        images = torch.randn(n, 3, size, size, generator=generator)
        samples = [DataSample().set_gt_label(torch.tensor([i % num_classes])) for i in range(n)]
        return images, samples

    return make
