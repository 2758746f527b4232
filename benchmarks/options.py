"""Options of self-distillation, each on ``byot-strided``.

They are methods of accuracy.py like any other, to be named by ``--methods``.
"""
from typing import Callable, Dict, Sequence

from mmengine.config import Config

LOGIT = dict(type='mmrazor_byot.LogitLoss', temperature=3, loss_weight=0.3)
CUTMIX = [dict(type='mmrazor_byot.BatchCutMix', alpha=1.0, prob=0.5)]
TRIVIAL = [dict(type='mmrazor_byot.BatchTrivialAugment')]
EMA = dict(
    type='EMAHook',
    ema_type='mmrazor_byot.ExponentialMovingAverage',
    momentum=0.005)


def option(base: Callable,
           mixes: Sequence[dict] = (),
           transforms: Sequence[dict] = (),
           hooks: Sequence[dict] = (),
           **model) -> Callable:
    """A method that is another one with some settings changed.

    Args:
        base: The other: it changes a config for a scale.
        mixes: For its data preprocessor.
        transforms: Behind those that its data preprocessor has.
        hooks: More custom hooks.
        **model: Settings of BYOT, in the place of the recipe's.
    """
    def change(cfg: Config, scale) -> None:
        base(cfg, scale)
        for key, value in model.items():  # update() would merge them
            cfg.model[key] = value
        cfg.custom_hooks += list(hooks)
        prepared = cfg.data_preprocessor
        prepared.mixes = [*prepared.get('mixes', ()), *mixes]
        prepared.transforms = [*prepared.get('transforms', ()), *transforms]
    return change


def options(plain: Callable, byot: Callable) -> Dict[str, Callable]:
    """All options.

    Args:
        plain: The method without exits.
        byot: The one that is to become better.
    """
    return {
        'byot-ensemble':
        option(byot, teacher=dict(type='mmrazor_byot.EnsembleTeacher')),
        'byot-averaged':
        option(byot, hooks=[dict(type='mmrazor_byot.AveragedTeacherHook')],
               teacher=dict(type='mmrazor_byot.AveragedTeacher')),
        'byot-standardized':
        option(byot, logit_loss=dict(LOGIT, standardize=True)),
        'byot-dkd':
        option(byot, logit_loss=dict(
            type='mmrazor.DKDLoss', tau=3, beta=2, loss_weight=0.3)),
        'byot-wide':
        option(byot, exit_head=dict(
            type='mmrazor_byot.StridedHead', growth=2)),
        'byot-hint':
        option(byot, hint_loss=dict(
            type='mmrazor_byot.HintLoss', loss_weight=0.03)),
        'byot-normalized-hint':
        option(byot, hint_loss=dict(
            type='mmrazor_byot.HintLoss', normalize=True)),
        'byot-warm-up':
        option(byot, hooks=[
            dict(type='mmrazor_byot.DistillWarmupHook', epochs=15)]),
        'byot-cutmix': option(byot, CUTMIX),
        'plain-cutmix': option(plain, CUTMIX),
        'byot-trivial': option(byot, transforms=TRIVIAL),
        'plain-trivial': option(plain, transforms=TRIVIAL),
        'byot-ema': option(byot, hooks=[EMA]),
        'plain-ema': option(plain, hooks=[EMA]),
    }
