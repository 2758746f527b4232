"""One whole training step against derivatives taken by hand in NumPy."""

import numpy as np
import pytest
import torch
from by_definition import softmax
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample
from torch import nn

from mmrazor_byot.models import BYOT

LR, T, ALPHA, LAMBDA = 0.5, 3.0, 0.3, 0.03


class TwoSections(nn.Module):
    """Two 1 x 1 convolutions: on images of one pixel, two matrices."""

    out_indices = (0, 1)

    def __init__(self):
        super().__init__()
        self.w1 = nn.Conv2d(3, 4, 1, bias=False)
        self.w2 = nn.Conv2d(4, 6, 1, bias=False)

    def forward(self, x):
        x = self.w1(x)
        return x, self.w2(x)


class MatrixHead(nn.Module):
    """Feature B x, logits V (B x)."""

    def __init__(self, in_channels, out_channels, num_classes):
        super().__init__()
        self.b = nn.Linear(in_channels, out_channels, bias=False)
        self.v = nn.Linear(out_channels, num_classes, bias=False)

    def forward(self, x):
        feature = self.b(x.flatten(1))
        return feature, self.v(feature)


def step_by_hand(w, x, y):
    """Loss terms, and the weights after one step of gradient descent."""
    n, onehot = len(x), np.eye(w['c'].shape[0])[y]
    m1 = x @ w['w1'].T  # section 1
    m2 = m1 @ w['w2'].T  # section 2, feature of exit 2
    z2 = m2 @ w['c'].T  # exit 2
    f1 = m1 @ w['b'].T  # feature of exit 1
    z1 = f1 @ w['v'].T  # exit 1
    q1, q2 = softmax(z1), softmax(z2)
    p, q = softmax(z2 / T), softmax(z1 / T)
    losses = {
        'exit1.label_loss': -(1 - ALPHA) * np.log((q1 * onehot).sum(1)).mean(),
        'exit1.logit_loss': ALPHA * T**2 * (p * np.log(p / q)).sum(1).mean(),
        'exit1.hint_loss': LAMBDA * ((f1 - m2) ** 2).sum(1).mean(),
        'exit2.label_loss': -np.log((q2 * onehot).sum(1)).mean(),
    }
    # The teacher (m2, z2) counts as a constant in the distillation terms.
    dz1 = ((1 - ALPHA) * (q1 - onehot) + ALPHA * T * (q - p)) / n
    dz2 = (q2 - onehot) / n
    df1 = dz1 @ w['v'] + LAMBDA * 2 * (f1 - m2) / n
    dm2 = dz2 @ w['c']
    dm1 = df1 @ w['b'] + dm2 @ w['w2']
    gradients = dict(v=dz1.T @ f1, c=dz2.T @ m2, b=df1.T @ m1, w2=dm2.T @ m1, w1=dm1.T @ x)
    return losses, {k: w[k] - LR * gradients[k] for k in w}


@pytest.fixture
def model():
    architecture = dict(
        type='ImageClassifier',
        backbone=TwoSections(),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=6),
    )
    model = BYOT(architecture, exit_head=dict(type=MatrixHead), input_size=1)
    model = model.double()
    nn.init.zeros_(model.architecture.head.fc.bias)
    model.architecture.head.fc.bias.requires_grad_(False)
    return model


def weights(model):
    net, head = model.architecture, model.exit_heads[0]
    named = dict(w1=net.backbone.w1, w2=net.backbone.w2, c=net.head.fc, b=head.b, v=head.v)
    return {
        k: m.weight.detach().reshape(m.weight.shape[:2]).numpy().copy() for k, m in named.items()
    }


def test_one_step(model):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(7, 3)), random.integers(0, 5, size=7)
    expected_losses, expected_weights = step_by_hand(weights(model), x, y)

    data = dict(
        inputs=torch.tensor(x).reshape(7, 3, 1, 1),
        data_samples=[DataSample().set_gt_label(torch.tensor([int(i)])) for i in y],
    )
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=LR)
    # The preprocessor would make the images float32.
    model.data_preprocessor.forward = lambda data, training: data
    log = model.train_step(data, OptimWrapper(optimizer))

    for name, value in expected_losses.items():
        assert log[name].item() == pytest.approx(value, rel=1e-10), name
    assert log['loss'].item() == pytest.approx(sum(expected_losses.values()), rel=1e-10)
    for name, value in weights(model).items():
        np.testing.assert_allclose(value, expected_weights[name], rtol=1e-9, err_msg=name)
