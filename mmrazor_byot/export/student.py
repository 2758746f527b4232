"""A trained BYOT network, cut at one exit, as a plain classifier."""

import copy
from collections import OrderedDict
from typing import Any, Dict, Optional

import torch
from mmengine.hub import get_config
from torch import Tensor, nn

from mmrazor_byot.datasets import per_image
from mmrazor_byot.models.algorithms import BYOT
from mmrazor_byot.models.backbones import modules_behind
from mmrazor_byot.registry import MODELS

OURS = 'mmrazor_byot.'
RUNTIME = 'mmpretrain::_base_/default_runtime.py'


def student_config(cfg: dict, model: BYOT, exit_number: int) -> Dict[str, Any]:
    """Config of mmpretrain for the network up to one exit.

    Args:
        cfg (dict): The whole config, of which ``model`` is one part; it is not changed.
        model (BYOT): The network that it builds.
        exit_number (int): 1 to C.

    Returns:
        dict: ``model``, its ``data_preprocessor``, and what testing takes. Nothing of ours is in
        the model of exit C, unless its backbone is.
    """
    cfg = copy.deepcopy(cfg)
    classifier = _architecture(cfg['model']['architecture'])
    theirs = classifier.pop('data_preprocessor', None)
    preprocessor = (
        cfg['model'].get('data_preprocessor') or cfg.get('data_preprocessor') or theirs or {}
    )
    _cut(classifier, model, exit_number)
    student = dict(_base_=RUNTIME)
    imports = [
        name
        for name in (cfg.get('custom_imports') or {}).get('imports', [])
        if name.split('.')[0] != OURS[:-1]
    ]
    if _mentions_ours(classifier):
        imports.insert(0, OURS[:-1])
    if imports:
        student['custom_imports'] = dict(imports=imports)
    student.update(data_preprocessor=_without_augmentation(preprocessor), model=classifier)
    if cfg.get('test_dataloader'):
        student.update(
            test_dataloader=per_image(cfg['test_dataloader']),
            test_evaluator=cfg['test_evaluator'],
            test_cfg=dict(),
        )
    return _plain(student)


def student_weights(
    state: Dict[str, Tensor], student: nn.Module, exit_number: int
) -> 'OrderedDict[str, Tensor]':
    """The weights of the student, out of those of BYOT.

    Args:
        state (dict[str, Tensor]): State dict of the trained BYOT.
        student (nn.Module): Built from :func:`student_config`.
        exit_number (int): The exit it was cut at, 1 to C.

    Returns:
        OrderedDict[str, Tensor]: Name to weight, in main memory, in the precision it had.
    """
    exit_head = 'head.exit_head.'
    weights = OrderedDict()
    for name in student.state_dict():
        origin = f'architecture.{name}'
        if name.startswith(exit_head):
            origin = f'exit_heads.{exit_number - 1}.{name[len(exit_head) :]}'
        weights[name] = state[origin].detach().cpu().clone()
    return weights


def _architecture(architecture: dict) -> dict:
    """Spell out MMRazor's ``dict(cfg_path='mmpretrain::...')``."""
    if 'type' not in architecture and 'cfg_path' in architecture:
        cfg = get_config(architecture['cfg_path'])
        architecture = cfg.model.to_dict()
        if 'data_preprocessor' in cfg:
            architecture['data_preprocessor'] = cfg.data_preprocessor.to_dict()
    architecture.pop('pretrained', None)
    for part in (architecture, architecture['backbone']):
        # The weights come from the checkpoint.
        if (part.get('init_cfg') or {}).get('type') == 'Pretrained':
            del part['init_cfg']
    return architecture


def _cut(classifier: dict, model: BYOT, exit_number: int) -> None:
    """Leave out of a classifier's config what the exit does not need."""
    backbone, built = classifier['backbone'], model.architecture.backbone
    sections = (
        getattr(built, 'out_indices', None) or backbone.get('out_indices') or range(model.num_exits)
    )
    deepest = exit_number == model.num_exits
    if not deepest or hasattr(built, 'out_indices'):
        backbone['out_indices'] = (sections[exit_number - 1],)
    if deepest:
        backbone['type'] = getattr(built, 'plain_type', backbone['type'])
        if classifier['head'].get('in_channels', 0) is None:
            classifier['head']['in_channels'] = model.feature_channels
        return
    absent = modules_behind(MODELS.build(backbone), torch.zeros(1, *model.input_size))
    classifier['backbone'] = dict(type=f'{OURS}CutBackbone', backbone=backbone, absent=absent)
    classifier['neck'] = None
    classifier['head'] = dict(
        type=f'{OURS}ExitClsHead',
        exit_head=model.exit_head_configs[exit_number - 1],
        num_classes=model.num_classes,
    )


def _without_augmentation(preprocessor: dict) -> dict:
    """What a preprocessor does in a test, where mmpretrain's own will do."""
    if preprocessor.get('type') != f'{OURS}BatchDataPreprocessor':
        return preprocessor
    return {k: v for k, v in preprocessor.items() if k not in ('type', 'transforms', 'mixes')}


def _mentions_ours(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_mentions_ours, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_mentions_ours, value))
    return isinstance(value, str) and value.startswith(OURS)


def _plain(value: Any) -> Any:
    """The same settings, with mmpretrain's types where it has them."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if not isinstance(value, dict):
        return value
    if value.get('type') == f'{OURS}BatchEvaluator':
        return _plain(value['metrics'])
    if value.get('type') == f'{OURS}ExitAccuracy':
        value = {**value, 'type': 'Accuracy'}
    elif _theirs(value.get('type')):
        value = {**value, 'type': value['type'][len(OURS) :]}
    return {
        name: _plain(part)
        for name, part in value.items()
        # The scope is mmpretrain anyway, and our seeds are for training.
        if (name, part) != ('_scope_', 'mmpretrain')
        and not (name == 'worker_init_fn' and _mentions_ours(part))
    }


def _theirs(name: Optional[str]) -> bool:
    """Whether a data set of ours only adds messages to mmpretrain's."""
    import mmpretrain.datasets as datasets

    return isinstance(name, str) and name.startswith(OURS) and hasattr(datasets, name[len(OURS) :])
