"""The algorithm: what flows where, how often, and what comes out."""

import copy

import pytest
import torch
from mmrazor.models.algorithms import BaseAlgorithm
from torch import nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models import BYOT

CONNECTOR = dict(type='mmrazor.BYOTConnector', expansion=1, kernel_size=3, stride=2)
OURS = dict(type='mmrazor_byot.BottleneckHead')


def exit_logits_by_hand(model, images):
    """All logits through the backbone's own stages, one after the other."""
    net = model.architecture.backbone
    x = net.relu(net.norm1(net.conv1(images)))
    logits = []
    for name, head in zip(('layer1', 'layer2', 'layer3'), model.exit_heads):
        x = getattr(net, name)(x)
        logits.append(head(x)[1])
    pooled = net.layer4(x).mean(dim=(2, 3))
    return [*logits, model.architecture.head.fc(pooled)]


def test_is_an_mmrazor_algorithm(build_byot):
    model = build_byot()
    assert isinstance(model, BYOT) and isinstance(model, BaseAlgorithm)
    assert model.num_exits == 4 and model.num_classes == 5


def test_channels_are_found_not_typed(build_byot):
    heads = build_byot().exit_heads
    assert [h.bottleneck[0].conv.in_channels for h in heads] == [4, 8, 16]
    assert [h.bottleneck[1].conv.stride[0] for h in heads] == [8, 4, 2]
    assert {h.fc.in_features for h in heads} == {32}
    assert {h.fc.out_features for h in heads} == {5}


@pytest.mark.parametrize('sections', [(2, 3), (0, 3), (1, 2, 3), (0, 1, 2)])
def test_any_sections(build_byot, tiny_architecture, batch, sections):
    tiny_architecture['head']['in_channels'] = 4 * 2 ** sections[-1]
    model = build_byot(sections=sections)
    losses = model.loss(*batch())
    assert len(losses) == 3 * (len(sections) - 1) + 1
    assert f'exit{len(sections)}.label_loss' in losses
    channels = [h.bottleneck[0].conv.in_channels for h in model.exit_heads]
    assert channels == [4 * 2**i for i in sections[:-1]]


def test_loss_names_say_exit_and_loss(build_byot, batch):
    losses = build_byot().loss(*batch())
    assert list(losses) == [
        *(f'exit{i}.{loss}_loss' for i in (1, 2, 3) for loss in ('label', 'logit', 'hint')),
        'exit4.label_loss',
    ]


def test_each_head_and_section_runs_once_a_step(build_byot, batch):
    model = build_byot()
    model.train()
    model.loss(*batch())
    counters = [b.item() for name, b in model.named_buffers() if name.endswith('_tracked')]
    assert counters == [1] * (20 + 3 * 3)  # backbone, and three in each head


@pytest.mark.parametrize('term', ['logit_loss', 'hint_loss'])
def test_no_distillation_reaches_the_deepest_exit(build_byot, batch, term):
    model = build_byot()
    sum(v for k, v in model.loss(*batch()).items() if k.endswith(term)).backward()
    head, net = model.architecture.head, model.architecture.backbone
    assert all(p.grad is None for p in (*head.parameters(), *net.layer4.parameters()))
    reached = [*net.layer3.parameters(), *model.exit_heads[2].bottleneck.parameters()]
    assert all(p.grad is not None for p in reached)
    assert any(p.grad.abs().max() > 0 for p in reached)


def test_losses_can_be_left_out_replaced_or_listed(build_byot, batch):
    model = build_byot(
        label_loss=dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, num_classes=5),
        logit_loss=[dict(type='mmrazor.KLDivergence', tau=2), None, None],
        hint_loss=None,
    )
    losses = model.loss(*batch())
    assert losses.keys() == {'exit1.logit_loss', *(f'exit{i}.label_loss' for i in (1, 2, 3, 4))}
    log_q = model.forward_exits(batch()[0])[1].logits.log_softmax(1)
    picked = log_q[range(6), [0, 1, 2, 3, 4, 0]]
    expected = -(0.9 * picked + 0.1 * log_q.mean(dim=1)).mean()
    torch.testing.assert_close(losses['exit2.label_loss'], expected)


@pytest.mark.parametrize('heads', [OURS, CONNECTOR, [OURS, CONNECTOR, CONNECTOR]])
def test_logits_of_every_exit(build_byot, batch, heads):
    """Of our heads, MMRazor's, or both."""
    model = build_byot(exit_head=heads)
    configs = heads if isinstance(heads, list) else [heads] * 3
    for head, cfg in zip(model.exit_heads, configs, strict=True):
        assert cfg['type'].endswith(f'.{type(head).__name__}')
    model.eval()
    images, samples = batch()
    for ours, expected in zip(model(images), exit_logits_by_hand(model, images)):
        torch.testing.assert_close(ours, expected)
    assert torch.isfinite(sum(model.loss(images, samples).values()))


def test_cfg_path_form(batch):
    model = BYOT(dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py', pretrained=False))
    assert model.num_exits == 4 and model.num_classes == 10
    mean = model.data_preprocessor.mean.flatten().tolist()
    assert mean == pytest.approx([125.307, 122.961, 113.8575])
    with torch.no_grad():
        assert len(model.loss(*batch(2, 10))) == 10


def test_batch_augments_are_where_mmpretrain_has_them(tiny_architecture, batch):
    """In ``train_cfg``, also where the config gives a data preprocessor."""
    tiny_architecture['train_cfg'] = dict(augments=[dict(type='Mixup', alpha=0.8)])
    model = BYOT(tiny_architecture, data_preprocessor=dict(num_classes=5, to_rgb=True))
    images, samples = batch(2)
    data = dict(inputs=images, data_samples=samples)
    mixed = model.data_preprocessor(data, training=True)['data_samples']
    assert mixed[0].gt_score.shape == (5,)
    assert 0 < mixed[0].gt_score.max() < 1
    own = dict(num_classes=5, batch_augments=None)
    model = BYOT(tiny_architecture, data_preprocessor=own)
    assert model.data_preprocessor.batch_augments is None


def test_the_callers_config_is_left_alone(tiny_architecture):
    preprocessor = dict(num_classes=5)
    before = copy.deepcopy((tiny_architecture, preprocessor))
    BYOT(tiny_architecture, sections=(1, 3), data_preprocessor=preprocessor)
    assert (tiny_architecture, preprocessor) == before


def test_probing_leaves_no_trace(build_byot):
    model = build_byot()
    assert all(m.training for m in model.modules())
    for name, buffer in model.named_buffers():
        if name.endswith('num_batches_tracked'):
            assert buffer.item() == 0
        if name.endswith('running_mean'):
            assert buffer.abs().max() == 0


def test_inplace_relus_are_kept(build_byot):
    relus = [m for m in build_byot().modules() if isinstance(m, nn.ReLU)]
    assert relus and all(r.inplace for r in relus)


def test_mixed_labels_train(build_byot, batch):
    images, samples = batch(4)
    mixed = torch.tensor([0.5, 0.5, 0, 0, 0])
    for sample in samples:
        sample.set_gt_score(mixed)
    model = build_byot()
    losses = model.loss(images, samples)
    log_q = model.forward_exits(images)[0].logits.log_softmax(1)
    expected = -0.7 * (log_q[:, 0] + log_q[:, 1]).mean() / 2
    torch.testing.assert_close(losses['exit1.label_loss'], expected)


@pytest.mark.parametrize(
    'predict_with, pick',
    [
        ('deepest', lambda s: s[:, 3]),
        ('ensemble', lambda s: (s[:, 0] + s[:, 1] + s[:, 2] + s[:, 3]) / 4),
        (1, lambda s: s[:, 0]),
        (3, lambda s: s[:, 2]),
    ],
)
def test_the_answer(build_byot, batch, predict_with, pick):
    model = build_byot(predict_with=predict_with)
    model.eval()
    images, samples = batch()
    with torch.no_grad():
        scores = torch.stack([z.softmax(1) for z in model(images)], 1)
        answers = model(images, samples, mode='predict')
    expected = pick(scores)
    for i, answer in enumerate(answers):
        torch.testing.assert_close(answer.exit_scores, scores[i])
        torch.testing.assert_close(answer.pred_score, expected[i])
        assert answer.pred_label.tolist() == [expected[i].argmax().item()]
        assert answer.gt_label.tolist() == [i % 5]


def test_predict_without_samples(build_byot, batch):
    model = build_byot().eval()
    with torch.no_grad():
        answers = model(batch(3)[0], mode='predict')
    assert len(answers) == 3
    assert answers[0].exit_scores.sum(dim=1).tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize('predict_with', ['best', 0, 5, -1])
def test_unknown_answer(build_byot, predict_with):
    with pytest.raises(ConfigError, match='deepest.*ensemble.*1, 2, 3, 4'):
        build_byot(predict_with=predict_with)
