"""Any classifier of torch, for configs."""

from typing import Any, Optional, Sequence, Union

from mmengine.utils import get_object_from_string
from mmpretrain.models import TimmClassifier
from mmpretrain.models.classifiers import BaseClassifier
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.exits import SectionOutput
from mmrazor_byot.exits.module_sections import ModuleSections
from mmrazor_byot.exits.shapes import InputSize, ShapeProbe
from mmrazor_byot.registry import MODELS


@MODELS.register_module()
class TorchClassifier(TimmClassifier):
    """A classifier of torchvision, timm or your own as the architecture of :class:`BYOT`.

    Args:
        network (dict | nn.Module): A dict of the import path of a class or function, ``type``, and
            its arguments: ``dict(type='torchvision.models.resnet18', num_classes=10)`` or
            ``dict(type='timm.create_model', model_name='resnet18')``. Its result, or the module,
            maps images (N, C, H, W) to logits (N, K), which its last ``nn.Linear`` returns.
        after (Sequence[str]): Names of the modules after which section 1 to C - 1 end, see
            :func:`~mmrazor_byot.exits.add_exits`.
        loss (dict | nn.Module): Loss of the logits. Defaults to cross entropy.
        train_cfg, data_preprocessor, init_cfg: As in mmpretrain's ``TimmClassifier``.

    Raises:
        ConfigError: The network cannot be built, or has no such modules.
    """

    def __init__(
        self,
        network: Union[dict, nn.Module],
        after: Sequence[str],
        loss: Union[dict, nn.Module] = dict(type='mmpretrain.CrossEntropyLoss'),
        train_cfg: Optional[dict] = None,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        preprocessor = {'type': 'mmpretrain.ClsDataPreprocessor', **(data_preprocessor or {})}
        if train_cfg and 'augments' in train_cfg:
            preprocessor['batch_augments'] = train_cfg
        # Not TimmClassifier's, which builds a network of timm.
        BaseClassifier.__init__(self, init_cfg=init_cfg, data_preprocessor=preprocessor)
        self.model = network if isinstance(network, nn.Module) else _build(network)
        self.loss_module = loss if isinstance(loss, nn.Module) else MODELS.build(loss)
        self._sections = ModuleSections(self.model, after)
        self._is_init = True  # as it is built; timm's have an init_weights() that MMEngine calls

    def forward_sections(self, images: Tensor) -> SectionOutput:
        """The feature maps after the named modules, and the deepest feature and logits."""
        return self._sections.run(self.model, images)

    def probe_shapes(self, input_size: InputSize) -> ShapeProbe:
        """Shapes for an image of zeros."""
        return self._sections.probe(self.model, input_size)


def _build(network: dict) -> nn.Module:
    if not isinstance(network, dict) or 'type' not in network:
        raise ConfigError(f'architecture.network={network!r}: give its type and arguments')
    arguments = dict(network)
    build: Any = arguments.pop('type')
    try:
        found = get_object_from_string(build) if isinstance(build, str) else build
        if not callable(found):
            raise ImportError('no such class or function can be imported')
        built = found(**arguments)
    except Exception as e:  # of an import, or of any constructor
        raise ConfigError(
            f'architecture.network: {build}({arguments}) failed: {type(e).__name__}: '
            f'{" ".join(str(e).split())[:200]}'
        ) from e
    if not isinstance(built, nn.Module):
        raise ConfigError(f'architecture.network: {build} makes a {type(built).__name__}')
    return built
