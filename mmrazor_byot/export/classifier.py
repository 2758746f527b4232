"""A trained BYOT network, cut at one exit, as a plain classifier: a config and a checkpoint."""

import copy
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Tuple, Union

import mmpretrain.datasets
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmrazor_byot.datasets import per_image
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import write_bytes, write_text
from mmrazor_byot.models.algorithms import BYOT
from mmrazor_byot.models.backbones import modules_behind
from mmrazor_byot.models.loading import load_byot
from mmrazor_byot.registry import MODELS

from .publish import checkpoint_bytes, hashed_name, plain_meta

OURS = 'mmrazor_byot.'
RUNTIME = 'mmpretrain::_base_/default_runtime.py'


class ExportedClassifier(NamedTuple):
    """What :func:`export_classifier` has written.

    Attributes:
        config (Path): Config file of mmpretrain.
        checkpoint (Path): Its weights; the hash is in the name.
        params (int): Number of parameters.
    """

    config: Path
    checkpoint: Path
    params: int


def export_classifier(
    cfg: Config,
    checkpoint: str,
    out: Union[str, Path],
    exit_number: Optional[int] = None,
    force: bool = False,
) -> ExportedClassifier:
    """Write the network up to one exit as a plain classifier.

    Before anything is written, the classifier is built from the text of its config and must answer
    as the network does, bit for bit.

    Args:
        cfg (Config): Config of the trained BYOT network, read from a file.
        checkpoint (str): Its checkpoint: file, URL or ``zoo://NAME``; one of MMRazor's too.
        out (str | Path): Folder to write to, made if need be.
        exit_number (int, optional): 1 to C. Defaults to the deepest, C.
        force (bool): Replace another config of the same name.

    Returns:
        ExportedClassifier: ``NAME_exitI.py`` and ``NAME_exitI-HASH.pth``.

    Raises:
        ConfigError: No such exit; a network that cannot be cut there; a file that is in the way.
        CheckpointError: The checkpoint is broken or does not fit.
    """
    model, state, meta = load_byot(cfg, checkpoint)
    count = model.num_exits
    exit_number = count if exit_number is None else exit_number
    if not 1 <= exit_number <= count:
        raise ConfigError(f'--exit {exit_number}: the network has the exits 1 to {count}')
    source = Path(cfg.filename)
    text, classifier = _checked_classifier(cfg, model, state, exit_number)
    text = f'# Exit {exit_number}/{count} of {source.name}\n{text}'
    about = dict(
        **plain_meta(meta),
        exit=f'{exit_number}/{count}',
        config=source.name,
        input_size=tuple(model.input_size),
    )
    data = checkpoint_bytes(about, classifier_weights(state, classifier, exit_number))
    name = f'{source.stem}_exit{exit_number}'
    config, weights = Path(out, f'{name}.py'), Path(out, hashed_name(name, data))
    if config.exists() and config.read_text() != text and not force:
        raise ConfigError(
            f'{config} exists and has other content: choose another --out, or replace it with '
            '--force'
        )
    write_bytes(weights, data)
    write_text(config, text)
    return ExportedClassifier(config, weights, sum(p.numel() for p in classifier.parameters()))


def _checked_classifier(
    cfg: Config, model: BYOT, state: Dict[str, Tensor], exit_number: int
) -> Tuple[str, nn.Module]:
    """Text of the classifier's config, and what is built from it."""
    image = torch.rand(2, *model.input_size, generator=torch.Generator().manual_seed(0))
    where = f'exit {exit_number} of {type(model.architecture.backbone).__name__}'
    try:
        text = Config(classifier_config(cfg.to_dict(), model, exit_number)).pretty_text
        # As mmpretrain.get_model builds it.
        read = Config.fromstring(text, '.py')
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            classifier = MODELS.build({**read.model, 'data_preprocessor': read.data_preprocessor})
        classifier.load_state_dict(classifier_weights(state, classifier, exit_number))
        classifier.eval()
        with torch.no_grad():
            logits = classifier(image)
            expected = model(image)[exit_number - 1]
    except Exception as e:  # whatever the code of a backbone that was cut wrongly raises
        raise ConfigError(
            f'{where} cannot be exported: the network does not run without what comes after it '
            f'({type(e).__name__}: {" ".join(str(e).split())[:200]}). The deepest exit can always '
            'be: leave --exit out'
        ) from e
    if not torch.equal(logits, expected):
        raise ConfigError(
            f'{where} cannot be exported: cut there, the network answers with other logits'
        )
    return text, classifier


def classifier_config(cfg: dict, model: BYOT, exit_number: int) -> Dict[str, Any]:
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
    if preprocessor.get('type') == f'{OURS}BatchDataPreprocessor':  # in a test it does the same
        own = 'type', 'transforms'
        preprocessor = {k: v for k, v in preprocessor.items() if k not in own}
    _cut(classifier, model, exit_number)
    found: Dict[str, Any] = dict(_base_=RUNTIME)
    imports = (cfg.get('custom_imports') or {}).get('imports', [])
    imports = [name for name in imports if name.split('.')[0] != OURS[:-1]]
    if _mentions_ours(classifier):
        imports.insert(0, OURS[:-1])
    if imports:
        found['custom_imports'] = dict(imports=imports)
    found.update(data_preprocessor=preprocessor, model=classifier)
    if cfg.get('test_dataloader'):
        found.update(
            test_dataloader=per_image(cfg['test_dataloader']),
            test_evaluator=cfg['test_evaluator'],
            test_cfg=dict(),
        )
    return _plain(found)


def classifier_weights(
    state: Dict[str, Tensor], classifier: nn.Module, exit_number: int
) -> Dict[str, Tensor]:
    """The weights of the cut classifier, out of those of BYOT.

    Args:
        state (dict[str, Tensor]): State dict of the trained BYOT.
        classifier (nn.Module): Built from :func:`classifier_config`.
        exit_number (int): The exit it was cut at, 1 to C.

    Returns:
        dict[str, Tensor]: Name to weight, in main memory, in the precision it had.
    """
    exit_head = 'head.exit_head.'
    weights = {}
    for name in classifier.state_dict():
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


def _mentions_ours(value: Any) -> bool:
    return f"'{OURS}" in repr(value)


def _plain(value: Any) -> Any:
    """The same settings, with mmpretrain's types if it has them."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if not isinstance(value, dict):
        return value
    kind = str(value.get('type'))
    if kind == f'{OURS}BatchEvaluator':
        return _plain(value['metrics'])
    if kind == f'{OURS}ExitAccuracy':
        value = {**value, 'type': 'Accuracy'}
    elif kind.startswith(OURS) and hasattr(mmpretrain.datasets, kind[len(OURS) :]):
        value = {**value, 'type': kind[len(OURS) :]}  # a data set that only adds messages
    return {
        name: _plain(part)
        for name, part in value.items()
        # The scope is mmpretrain anyway, and our seeds are for training.
        if (name, part) != ('_scope_', 'mmpretrain')
        and not (name == 'worker_init_fn' and _mentions_ours(part))
    }
