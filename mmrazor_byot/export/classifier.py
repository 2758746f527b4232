"""Export of a BYOT network, cut at one exit, to mmpretrain: a config and a checkpoint."""

import copy
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Tuple, Union

import mmpretrain.datasets
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation.finite import check_logits
from mmrazor_byot.files import write_bytes, write_text
from mmrazor_byot.models.algorithms import BYOT
from mmrazor_byot.models.backbones import find_unused_modules
from mmrazor_byot.models.loading import load_byot
from mmrazor_byot.models.torch_classifier import TorchClassifier
from mmrazor_byot.registry import MODELS

from .file_pipeline import file_loader
from .publish import checkpoint_bytes, hashed_name, plain_meta

PACKAGE = 'mmrazor_byot'


class ExportedClassifier(NamedTuple):
    """The result of :func:`export_classifier`.

    Attributes:
        config (Path): Config file for mmpretrain.
        checkpoint (Path): Checkpoint with a hash in its name.
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
    """Export the network up to one exit as a classifier of mmpretrain.

    Before anything is written, the classifier is built from the text of its config, and its logits
    must be equal to those of the network.

    Args:
        cfg (Config): Config of the trained BYOT network, read from a file.
        checkpoint (str): Its checkpoint, or one of MMRazor: file, URL or ``zoo://NAME``.
        out (str | Path): Folder to write to; created if it does not exist.
        exit_number (int, optional): 1 to C. Defaults to the deepest, C.
        force (bool): Replace another config of the same name. Defaults to False.

    Returns:
        ExportedClassifier: ``NAME_exitI.py`` and ``NAME_exitI-HASH.pth``.

    Raises:
        ConfigError: There is no such exit, the network cannot be cut there, or a different config
            exists.
        CheckpointError: The checkpoint is damaged or does not fit the network.
        NonFiniteOutputError: The exit answers with NaN.
    """
    model, state, meta = load_byot(cfg, checkpoint)
    if isinstance(model.architecture, TorchClassifier):
        raise ConfigError(
            f'the architecture of {cfg.filename} is a TorchClassifier, of which mmpretrain has no '
            'config; export it as one ONNX file by tools/deploy/export_onnx.py, with --exit'
        )
    count = model.num_exits
    exit_number = count if exit_number is None else exit_number
    if not 1 <= exit_number <= count:
        raise ConfigError(f'--exit {exit_number}: the network has the exits 1 to {count}')
    source = Path(cfg.filename)
    text, classifier = _checked_classifier(cfg, model, state, exit_number)
    text = f'# Exit {exit_number}/{count} of {source.name}\n{text}'
    checkpoint_meta = dict(
        **plain_meta(meta),
        exit=f'{exit_number}/{count}',
        config=source.name,
        input_size=tuple(model.input_size),
    )
    data = checkpoint_bytes(checkpoint_meta, classifier_weights(state, classifier, exit_number))
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
    """The text of the classifier's config, and the classifier built from it."""
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
    except Exception as e:  # a backbone that is cut wrongly can raise anything
        raise ConfigError(
            f'{where} cannot be exported: the network does not run without the modules after it '
            f'({type(e).__name__}: {" ".join(str(e).split())[:200]}). Leave --exit out to export '
            'the deepest exit'
        ) from e
    check_logits(expected[:, None], [exit_number])
    if not torch.equal(logits, expected):
        raise ConfigError(f'{where} cannot be exported: the logits of the cut network differ')
    return text, classifier


def classifier_config(cfg: dict, model: BYOT, exit_number: int) -> Dict[str, Any]:
    """Config of mmpretrain for the network up to one exit.

    Args:
        cfg (dict): The whole config; it is not changed.
        model (BYOT): The network built from it.
        exit_number (int): 1 to C.

    Returns:
        dict: ``model``, its ``data_preprocessor``, and the settings for testing and mmpretrain's
        inferencer. The model of exit C needs mmpretrain alone, unless the backbone is from this
        package; to test it on images in memory needs this package.
    """
    cfg = copy.deepcopy(cfg)
    classifier = _architecture(cfg['model']['architecture'])
    own = classifier.pop('data_preprocessor', None)
    preprocessor = cfg['model'].get('data_preprocessor') or cfg.get('data_preprocessor') or own
    preprocessor = dict(preprocessor or {})
    if preprocessor.get('type') == f'{PACKAGE}.BatchDataPreprocessor':
        # In a test it equals mmpretrain's ClsDataPreprocessor, the default.
        del preprocessor['type']
        preprocessor.pop('transforms', None)
    _cut(classifier, model, exit_number)
    exported: Dict[str, Any] = dict(_base_='mmpretrain::_base_/default_runtime.py')
    imports = (cfg.get('custom_imports') or {}).get('imports', [])
    imports = [name for name in imports if name.split('.')[0] != PACKAGE]
    if _needs_package(classifier):
        imports.insert(0, PACKAGE)
    if imports:
        exported['custom_imports'] = dict(imports=imports)
    exported.update(data_preprocessor=preprocessor, model=classifier)
    if cfg.get('test_dataloader'):
        loader, other_order = file_loader(cfg['test_dataloader'], model.input_size)
        preprocessor['to_rgb'] = bool(preprocessor.get('to_rgb')) != other_order
        exported.update(
            test_dataloader=loader, test_evaluator=cfg['test_evaluator'], test_cfg=dict()
        )
    return _plain(exported)


def classifier_weights(
    state: Dict[str, Tensor], classifier: nn.Module, exit_number: int
) -> Dict[str, Tensor]:
    """The state dict of the cut classifier, on the CPU, taken from that of BYOT.

    Args:
        state (dict[str, Tensor]): State dict of the trained BYOT.
        classifier (nn.Module): Built from :func:`classifier_config`.
        exit_number (int): The exit at which it is cut, 1 to C.
    """
    exit_head = 'head.exit_head.'
    weights = {}
    for name in classifier.state_dict():
        source = f'architecture.{name}'
        if name.startswith(exit_head):
            source = f'exit_heads.{exit_number - 1}.{name[len(exit_head) :]}'
        weights[name] = state[source].detach().cpu().clone()
    return weights


def _architecture(architecture: dict) -> dict:
    """Load MMRazor's ``dict(cfg_path='mmpretrain::...')``, and drop pretrained weights."""
    if 'type' not in architecture and 'cfg_path' in architecture:
        cfg = get_config(architecture['cfg_path'])
        architecture = cfg.model.to_dict()
        if 'data_preprocessor' in cfg:
            architecture['data_preprocessor'] = cfg.data_preprocessor.to_dict()
    architecture.pop('pretrained', None)
    for part in (architecture, architecture['backbone']):
        if (part.get('init_cfg') or {}).get('type') == 'Pretrained':
            del part['init_cfg']
    return architecture


def _cut(classifier: dict, model: BYOT, exit_number: int) -> None:
    """Remove the parts after the exit from a classifier's config."""
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
    absent = find_unused_modules(MODELS.build(backbone), torch.zeros(1, *model.input_size))
    classifier['backbone'] = dict(type=f'{PACKAGE}.CutBackbone', backbone=backbone, absent=absent)
    classifier['neck'] = None
    classifier['head'] = dict(
        type=f'{PACKAGE}.ExitClsHead',
        exit_head=model.exit_head_configs[exit_number - 1],
        num_classes=model.num_classes,
    )


def _needs_package(config: Any) -> bool:
    return f"'{PACKAGE}." in repr(config)


def _plain(value: Any) -> Any:
    """Replace types of this package by those of mmpretrain, if there is one."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if not isinstance(value, dict):
        return value
    scope, _, name = str(value.get('type')).rpartition('.')
    if scope == PACKAGE and name == 'BatchEvaluator':
        return _plain(value['metrics'])
    if scope == PACKAGE and name == 'ExitAccuracy':
        value = {**value, 'type': 'Accuracy'}
    elif scope == PACKAGE and hasattr(mmpretrain.datasets, name):
        value = {**value, 'type': name}  # a subclass that only adds error messages
    return {
        key: _plain(part)
        for key, part in value.items()
        # mmpretrain is the default scope, and worker_init_fn is for training.
        if (key, part) != ('_scope_', 'mmpretrain')
        and not (key == 'worker_init_fn' and _needs_package(part))
    }
