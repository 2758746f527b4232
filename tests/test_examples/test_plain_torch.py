"""examples/byot.py computes what BYOT does."""

import json
import re
import runpy

import pytest
import torch
from run import ROOT, script, succeeded

from mmrazor_byot.models import BYOT

EXAMPLE = ROOT / 'examples/byot.py'


@pytest.fixture
def networks(mmpretrain_scope):
    """The example's network, and BYOT with the same weights."""
    torch.manual_seed(0)
    plain = runpy.run_path(str(EXAMPLE))['ByotResNet18'](num_classes=10)
    byot = BYOT(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(type='mmpretrain.LinearClsHead', num_classes=10, in_channels=512),
        ),
        input_size=8,
    )
    source = plain.state_dict()
    assert len(byot.state_dict()) == len(source)
    own = {
        'architecture.backbone.conv1': 'sections.0.0',
        'architecture.backbone.bn1': 'sections.0.1',
        'architecture.backbone.layer1': 'sections.0.3',
        **{f'architecture.backbone.layer{i}': f'sections.{i - 1}' for i in (2, 3, 4)},
        'architecture.head.fc': 'fc',
        'exit_heads': 'exits',
    }
    state = {}
    for name in byot.state_dict():
        theirs = name
        for before, after in own.items():
            theirs = re.sub(rf'^{re.escape(before)}\.', f'{after}.', theirs)
        theirs = re.sub(r'bottleneck\.(\d)\.conv\.', r'bottleneck.\1.0.', theirs)
        theirs = re.sub(r'bottleneck\.(\d)\.bn\.', r'bottleneck.\1.1.', theirs)
        state[name] = source[theirs]
    byot.load_state_dict(state)
    return plain, byot


def test_the_same_loss_and_gradients(networks):
    plain, byot = networks
    images, target = torch.randn(6, 3, 8, 8), torch.tensor([0, 1, 2, 3, 9, 9])
    byot_loss = runpy.run_path(str(EXAMPLE))['byot_loss']
    ours = byot_loss(plain(images), target)
    theirs = sum(byot.loss_terms(images, target).values())
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    ours.backward()
    theirs.backward()
    first, second = plain.sections[0][0].weight.grad, byot.architecture.backbone.conv1.weight.grad
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_an_epoch_learns():
    text = succeeded(script(EXAMPLE, '--epochs', '1'))
    (row,) = [line for line in text.splitlines() if line.startswith('epoch')]
    *exits, ensemble = json.loads(row.split('ensemble ')[1])
    assert len(exits) == 4
    assert max(exits) > 50 and ensemble > 20  # 10 is a random guess
