"""The average that teaches: what it follows, and how it is kept."""
import copy

import pytest
import torch
from mmengine.runner import Runner
from short_runs import EMA, MODEL, VALIDATION, assert_close, config, saved

from mmrazor_byot.errors import ConfigError

TEACHER = dict(type='mmrazor_byot.AveragedTeacher')
HOOK = dict(type='mmrazor_byot.AveragedTeacherHook', momentum=0.2)


def train(folder, model, epochs=2, **settings):
    cfg = config(folder, epochs, **copy.deepcopy(settings))
    cfg.model = model
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def model(**changes):
    return dict(copy.deepcopy(MODEL), teacher=TEACHER, **changes)


def test_the_teacher_is_the_average_of_the_ema_hook(tmp_path):
    """Without weight on what it says, it is EMAHook's to the last bit."""
    silent = dict(type='mmrazor_byot.LogitLoss', loss_weight=0.0)
    runner = train(
        tmp_path / 'taught', model=model(logit_loss=silent, hint_loss=None),
        hooks=[HOOK])
    labels = dict(type='mmrazor_byot.LabelLoss', loss_weight=0.7)
    expected = train(
        tmp_path / 'plain', hooks=[EMA],
        model=dict(MODEL, teacher=dict(type='mmrazor_byot.EnsembleTeacher'),
                   label_loss=labels, logit_loss=None, hint_loss=None))
    assert_close(saved(runner, 2)['state_dict'],
                 saved(expected, 2)['state_dict'])
    average = runner.model.teacher._average[0]
    assert_close(
        {k: v for k, v in average.state_dict().items() if 'running' not in k},
        {k: v for k, v in saved(runner, 2)['state_dict'].items()
         if 'running' not in k})


def test_it_changes_what_is_learned(tmp_path):
    taught = train(tmp_path / 'taught', model=model(), hooks=[HOOK])
    other = train(tmp_path / 'other', hooks=[EMA], model=dict(
        MODEL, teacher=dict(type='mmrazor_byot.EnsembleTeacher')))
    name = 'architecture.head.fc.weight'
    assert not torch.equal(saved(taught, 2)['state_dict'][name],
                           saved(other, 2)['state_dict'][name])


def test_a_resumed_run_has_the_same_teacher(tmp_path):
    settings = dict(model=model(), hooks=[HOOK], **VALIDATION)
    whole = train(tmp_path / 'whole', epochs=3, **settings)
    train(tmp_path / 'part', epochs=2, **settings)
    resumed = train(tmp_path / 'part', epochs=3, resume=True, **settings)
    assert_close(saved(whole, 3)['state_dict'],
                 saved(resumed, 3)['state_dict'])


def test_another_teacher_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='not DeepestTeacher'):
        train(tmp_path, MODEL, hooks=[HOOK])
