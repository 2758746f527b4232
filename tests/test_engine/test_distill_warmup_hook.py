"""Weights of distillation, epoch by epoch."""
from types import SimpleNamespace

import pytest

from mmrazor_byot.engine import DistillWarmupHook
from mmrazor_byot.errors import ConfigError


def weights(hook, model, epochs):
    """Weights of exit 1's losses in each epoch."""
    runner = SimpleNamespace(model=model, epoch=0)
    hook.before_train(runner)
    found = []
    for runner.epoch in epochs:
        hook.before_train_epoch(runner)
        losses = model.exit_losses[0]
        found.append(tuple(losses[name].loss_weight for name in (
            'label_loss', 'logit_loss', 'hint_loss')))
    return found


def test_weights_rise(build_byot):
    found = weights(DistillWarmupHook(4), build_byot(), range(6))
    assert found == [(0.7, pytest.approx(0.3 * s), pytest.approx(0.03 * s))
                     for s in (0, 0.25, 0.5, 0.75, 1, 1)]


def test_a_resumed_run_goes_on(build_byot):
    assert weights(DistillWarmupHook(4), build_byot(), [3])[0][1] == \
        pytest.approx(0.225)


def test_losses_of_mmrazor_too(build_byot):
    model = build_byot(
        logit_loss=dict(type='mmrazor.KLDivergence', loss_weight=2.0))
    assert weights(DistillWarmupHook(2), model, [1])[0][1] == 1.0


def test_bad_settings(build_byot):
    with pytest.raises(ConfigError, match='at least 1'):
        DistillWarmupHook(0)
    model = build_byot(logit_loss=None, hint_loss=None)
    with pytest.raises(ConfigError, match='no logit or hint loss'):
        weights(DistillWarmupHook(3), model, [0])
