"""Who teaches, and whom."""
import pytest
import torch
from mmrazor.models.losses import DKDLoss

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.models.losses import label_loss, logit_loss
from mmrazor_byot.models.teachers import (
    DeepestTeacher,
    EnsembleTeacher,
    mean_logits,
)
from mmrazor_byot.structures import ExitOutput

ENSEMBLE = dict(type='mmrazor_byot.EnsembleTeacher')


def test_mean_logits_by_hand():
    mean = mean_logits([torch.tensor([[1., 2.]]), torch.tensor([[3., -2.]])])
    assert mean.tolist() == [[2., 0.]]


def test_teachers_by_hand():
    exits = [ExitOutput(torch.zeros(1, 1), torch.tensor([[4., 0.]])),
             ExitOutput(torch.ones(1, 1), torch.tensor([[0., 2.]]))]
    assert DeepestTeacher()(exits, None).logits.tolist() == [[0., 2.]]
    feature, logits = EnsembleTeacher()(exits, None)
    assert feature.tolist() == [[1.]] and logits.tolist() == [[2., 1.]]


def test_losses_of_the_ensemble(build_byot, batch):
    """Every exit learns from labels and from the mean, by the formulas."""
    model = build_byot(teacher=ENSEMBLE)
    model.eval()
    images, samples = batch()
    losses = model.loss(images, samples)
    assert list(losses) == [
        *(f'exit{i}.{loss}_loss' for i in (1, 2, 3)
          for loss in ('label', 'logit', 'hint')),
        'exit4.label_loss', 'exit4.logit_loss']
    logits = model(images)
    mean = sum(logits) / 4
    labels = torch.cat([sample.gt_label for sample in samples])
    for i in range(4):
        torch.testing.assert_close(losses[f'exit{i + 1}.label_loss'],
                                   0.7 * label_loss(logits[i], labels))
        torch.testing.assert_close(losses[f'exit{i + 1}.logit_loss'],
                                   0.3 * logit_loss(logits[i], mean, 3))
    feature = model.forward_exits(images)[-1].feature
    torch.testing.assert_close(
        losses['exit1.hint_loss'],
        0.03 * (model.forward_exits(images)[0].feature -
                feature).square().sum(1).mean())


def test_the_ensemble_is_no_way_back(build_byot, batch):
    """Exit 1's loss moves no weight behind section 1."""
    model = build_byot(teacher=ENSEMBLE, hint_loss=None)
    model.loss(*batch())['exit1.logit_loss'].backward()
    backbone = model.architecture.backbone
    assert all(p.grad is None for p in [
        *backbone.layer2.parameters(), *model.exit_heads[1].parameters(),
        *model.architecture.head.parameters()])
    assert any(p.grad is not None and p.grad.abs().max() > 0
               for p in backbone.layer1.parameters())


def test_the_deepest_exit_learns_from_the_ensemble(build_byot, batch):
    model = build_byot(teacher=ENSEMBLE)
    model.loss(*batch())['exit4.logit_loss'].backward()
    assert model.architecture.head.fc.weight.grad.abs().max() > 0


def test_lists_have_one_more_for_the_deepest(build_byot, batch):
    logit = dict(type='mmrazor_byot.LogitLoss', loss_weight=0.3)
    lists = dict(logit_loss=[None, None, logit, logit],
                 hint_loss=[None, None, None])
    losses = build_byot(teacher=ENSEMBLE, **lists).loss(*batch())
    assert [name for name in losses if 'logit' in name] == [
        'exit3.logit_loss', 'exit4.logit_loss']
    with pytest.raises(ConfigError, match='logit_loss lists 4.*for 3 exits'):
        build_byot(**lists)


def test_a_checkpoint_fits_with_any_teacher(build_byot):
    missing, unexpected = build_byot(teacher=ENSEMBLE).load_state_dict(
        build_byot().state_dict())
    assert not missing and not unexpected


def test_mmrazors_dkd_loss_gets_the_labels(build_byot, batch):
    """Decoupled distillation tells the right class from the others."""
    settings = dict(tau=2.0, alpha=1.0, beta=4.0, loss_weight=0.5)
    model = build_byot(logit_loss=dict(type='mmrazor.DKDLoss', **settings))
    model.eval()
    images, samples = batch()
    losses = model.loss(images, samples)
    logits = model(images)
    labels = torch.cat([sample.gt_label for sample in samples])
    for i in range(3):
        torch.testing.assert_close(
            losses[f'exit{i + 1}.logit_loss'],
            DKDLoss(**settings)(logits[i], logits[3], labels))


def test_the_average_teaches(build_byot, batch):
    """Its logits are the teacher's, and nothing flows back to it."""
    settings = dict(teacher=dict(type='mmrazor_byot.AveragedTeacher'))
    model, average = build_byot(**settings), build_byot(**settings)
    model.teacher.follow(average)
    assert model.state_dict().keys() == build_byot().state_dict().keys()
    images, samples = batch()
    losses = model.loss(images, samples)
    mean = sum(average(images)) / 4
    for i, logits in enumerate(model(images)):
        torch.testing.assert_close(losses[f'exit{i + 1}.logit_loss'],
                                   0.3 * logit_loss(logits, mean, 3))
    sum(losses.values()).backward()
    assert all(p.grad is None for p in average.parameters())
    assert model.architecture.head.fc.weight.grad is not None


def test_no_average(build_byot, batch):
    model = build_byot(teacher=dict(type='mmrazor_byot.AveragedTeacher'))
    with pytest.raises(ConfigError, match='AveragedTeacherHook'):
        model.loss(*batch())
