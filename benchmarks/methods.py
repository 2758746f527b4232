"""The methods that are compared by accuracy, as changes of one recipe.

All of a scale share network, data, data order, schedule and epochs; only how the network learns
differs.
"""

import os
from copy import deepcopy
from typing import Callable, Dict

from mmengine.config import Config
from peers import RECIPES, mmrazor_config
from scales import Scale

Change = Callable[[Config, Scale], None]


def method_config(scale: Scale, method: str, changes: dict = {}) -> Config:
    """The config that trains a method.

    Args:
        scale: Of the comparison.
        method: One of ``METHODS``.
        changes: More options of the recipe that all methods start from.
    """
    cfg = Config.fromfile(RECIPES / scale.recipe)
    if scale.schedule:
        file = RECIPES.parents[2] / '_base_/schedules' / scale.schedule
        schedule = Config.fromfile(file)
        for key in ('optim_wrapper', 'param_scheduler', 'train_cfg'):
            cfg[key] = schedule[key]
    if scale.packed and scale.packed in os.environ:
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            loader.dataset.dataset.update(
                type='mmrazor_byot.PackedImages', data_root='', ann_file=os.environ[scale.packed]
            )
    cfg.merge_from_dict({**scale.options, **changes})
    METHODS[method](cfg, scale)
    return cfg


def _plain(cfg: Config, scale: Scale) -> None:
    cfg.model = _network(cfg)


def _network(cfg: Config, **backbone) -> dict:
    """The classifier without exits, its backbone perhaps a larger one."""
    network = deepcopy(cfg.model.architecture)
    network.backbone.update(backbone)
    widest = 8 * network.backbone.get('base_channels', 64)
    expansion = 1 if network.backbone.depth < 50 else 4
    network.head.in_channels = expansion * widest
    network.head.type = 'mmrazor_byot.BatchLinearClsHead'
    return network


def _teacher(cfg: Config, scale: Scale) -> None:
    cfg.model = _network(cfg, **scale.teacher)


def _byot(cfg: Config, scale: Scale) -> None:
    """The recipe as it is: the paper's losses and heads."""


def _without(*losses: str) -> Change:
    def change(cfg: Config, scale: Scale) -> None:
        for name in losses:
            cfg.model[name] = None
        if 'logit_loss' in losses:  # alpha = 0
            cfg.model.label_loss.loss_weight = 1.0

    return change


def _strided(*losses: str) -> Change:
    """Stronger heads, no hint loss."""

    def change(cfg: Config, scale: Scale) -> None:
        cfg.model.exit_head = dict(type='mmrazor_byot.StridedHead')
        _without('hint_loss', *losses)(cfg, scale)

    return change


def _averaged(change: Change) -> Change:
    """Test a moving average of the weights, as the strong recipes do."""

    def change_and_average(cfg: Config, scale: Scale) -> None:
        change(cfg, scale)
        strong = Config.fromfile(RECIPES / 'byot_resnet18_8xb16_tin32_strong.py')
        cfg.default_hooks.ema = {**strong.default_hooks.ema, **scale.ema_changes}

    return change_and_average


def _classic(cfg: Config, scale: Scale) -> None:
    """Distillation from the trained teacher, by MMRazor's algorithm."""
    logits = dict(type='mmrazor.ModuleOutputs', source='head.fc')
    cfg.model = dict(
        type='mmrazor.SingleTeacherDistill',
        architecture=_network(cfg),
        teacher=_network(cfg, **scale.teacher),
        teacher_ckpt=None,  # accuracy.py knows where it is
        data_preprocessor=cfg.data_preprocessor,
        distiller=dict(
            type='mmrazor.ConfigurableDistiller',
            student_recorders=dict(fc=logits),
            teacher_recorders=dict(fc=logits),
            distill_losses=dict(loss_kl=dict(type='mmrazor.KLDivergence', tau=3, loss_weight=1)),
            loss_forward_mappings=dict(
                loss_kl=dict(
                    preds_S=dict(from_student=True, recorder='fc'),
                    preds_T=dict(from_student=False, recorder='fc'),
                )
            ),
        ),
    )


def _mmrazor(cfg: Config, scale: Scale) -> None:
    """MMRazor's own classes, in the network's widths."""
    model = mmrazor_config()
    network = _network(cfg)
    model.architecture.backbone = {**network.backbone, 'type': 'mmpretrain.ResNet_CIFAR'}
    model.architecture.head.update(
        in_channels=network.head.in_channels, num_classes=network.head.num_classes
    )
    width = network.backbone.get('base_channels', 64)
    for i, head in enumerate(model.distiller.connectors.values()):
        head.update(
            in_channel=width * 2**i, out_channel=width * 8, num_classes=network.head.num_classes
        )
    for name, loss in model.distiller.distill_losses.items():
        if name.startswith('loss_fet'):
            loss.loss_weight *= _of_its_batch(cfg)
    model.data_preprocessor = cfg.data_preprocessor
    cfg.model = model


def _mmrazor_equal(cfg: Config, scale: Scale) -> None:
    """What those classes compute, by our recipe: equal, and faster."""
    recipe = Config.fromfile(RECIPES / 'byot_mmrazor_resnet18_8xb16_cifar100.py').model
    cfg.model.architecture.backbone.type = recipe.architecture.backbone.type
    for key in ('exit_head', 'label_loss', 'logit_loss', 'hint_loss'):
        cfg.model[key] = recipe[key]
    for loss in filter(None, cfg.model.hint_loss):
        loss.loss_weight *= _of_its_batch(cfg)


def _of_its_batch(cfg: Config) -> float:
    """What keeps MMRazor's hint loss as strong as in its recipe.

    It is a norm over all of a GPU's batch, which is 16 there, and grows as the batch does.
    """
    return 16 / cfg.train_dataloader.batch_size


#: Name to what it changes.
METHODS: Dict[str, Change] = {
    'plain': _plain,
    'plain-ema': _averaged(_plain),
    'deep-supervision': _without('logit_loss', 'hint_loss'),
    'byot': _byot,
    'byot-no-hint': _without('hint_loss'),
    'byot-no-logit': _without('logit_loss'),
    'byot-strided': _strided(),
    'byot-strided-ema': _averaged(_strided()),
    'deep-supervision-strided': _strided('logit_loss'),
    'deep-supervision-strided-ema': _averaged(_strided('logit_loss')),
    'mmrazor': _mmrazor,
    'mmrazor-equal': _mmrazor_equal,
    'teacher': _teacher,
    'single-teacher': _classic,
}

#: What must have been trained first.
NEEDS = {'single-teacher': 'teacher'}
