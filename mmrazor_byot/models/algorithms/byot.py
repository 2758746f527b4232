"""Be Your Own Teacher as an MMRazor algorithm."""

from functools import partial
from typing import Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModel, ModuleList
from mmpretrain.structures import DataSample
from mmrazor.models.algorithms.base import BaseAlgorithm
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.exits import ExitOutput, SectionOutput, exit_losses, forward_exits
from mmrazor_byot.registry import MODELS
from mmrazor_byot.structures import BatchSamples, stack_targets

from ..heads import complete_exit_head
from ..mmrazor_keys import load_mmrazor_keys
from ..plain_weights import (
    is_untrained,
    load_plain_keys,
    load_pretrained,
    take_pretrained,
)
from ..sections import build_architecture, probe_shapes
from ..torch_classifier import TorchClassifier

#: One config for all shallow exits, or a list with one for each.
ExitConfig = Union[dict, Sequence[dict]]
OptExitConfig = Optional[Union[dict, Sequence[Optional[dict]]]]
Samples = Union[BatchSamples, List[DataSample]]
#: Preprocessed images (N, 3, H, W), or the architecture's output for them.
Inputs = Union[Tensor, SectionOutput]


@MODELS.register_module()
class BYOT(BaseAlgorithm):
    r"""Self-distillation of one network (arXiv 1905.08094).

    A classifier is divided into C sections. Each but the last gets an exit head; the classifier
    itself is exit C. All exits are trained with the labels, and the shallow exits also with the
    deepest as their teacher, see :func:`~mmrazor_byot.exits.exit_losses`.

    Args:
        architecture (dict | BaseModel): A classifier of mmpretrain or a :class:`TorchClassifier`:
            its config, MMRazor's ``dict(cfg_path='mmpretrain::...', pretrained=False)``, or a built
            one. ``in_channels=None`` of its head is filled in. Its weights can be those of a
            checkpoint: ``init_cfg=dict(type='Pretrained', checkpoint=...)``; all must fit.
        exit_head (dict | list[dict]): Config of the shallow exit heads, or a list with one for
            each. Their channels are filled in.
        label_loss (dict | list | None): Config of the loss of logits and target, for all shallow
            exits or a list with one for each; its weight is :math:`1 - \alpha`. None leaves the
            loss out.
        logit_loss (dict | list | None): Config of the loss of logits and the deepest exit's logits;
            its weight is :math:`\alpha`.
        hint_loss (dict | list | None): Config of the loss of feature and the deepest exit's
            feature; its weight is :math:`\lambda`.
        freeze_architecture (bool): Train only the exit heads: the architecture keeps its weights
            and batch norm statistics, and its own label loss is left out. Without label losses no
            labels are needed. Defaults to False.
        sections (Sequence[int], optional): ``out_indices`` of the backbone; each is the last stage
            of a section. Defaults to those of the backbone, or all stages if it has only one.
        input_size (int | Sequence[int]): Size of the images, S, (H, W) or (C, H, W), for probing
            shapes and counting MACs. Defaults to 32.
        predict_with (str | int): Which scores ``predict`` returns: ``'deepest'``, ``'ensemble'`` or
            an exit from 1 to C. Defaults to ``'deepest'``.
        data_preprocessor (dict | nn.Module, optional): Defaults to the architecture's. A dict
            without type is a ``ClsDataPreprocessor``; its ``batch_augments`` default to the
            architecture's ``train_cfg``.
        init_cfg (dict, optional): Initialization config. Defaults to None.

    Raises:
        ConfigError: Sections, heads, losses and backbone do not fit each other, or the classifier's
            head is not trained by its ``loss_module`` alone.

    Examples:
        >>> model = BYOT(dict(
        ...     type='mmpretrain.ImageClassifier',
        ...     backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18),
        ...     neck=dict(type='mmpretrain.GlobalAveragePooling'),
        ...     head=dict(type='mmpretrain.LinearClsHead', num_classes=100,
        ...               in_channels=512)))
        >>> [tuple(z.shape) for z in model(torch.rand(2, 3, 32, 32))]
        [(2, 100), (2, 100), (2, 100), (2, 100)]
    """

    def __init__(
        self,
        architecture: Union[dict, BaseModel],
        exit_head: ExitConfig = dict(type='mmrazor_byot.BottleneckHead'),
        label_loss: OptExitConfig = dict(type='mmrazor_byot.LabelLoss', loss_weight=0.7),
        logit_loss: OptExitConfig = dict(
            type='mmrazor_byot.LogitLoss', temperature=3, loss_weight=0.3
        ),
        hint_loss: OptExitConfig = dict(type='mmrazor_byot.HintLoss', loss_weight=0.03),
        freeze_architecture: bool = False,
        sections: Optional[Sequence[int]] = None,
        input_size: Union[int, Sequence[int]] = 32,
        predict_with: Union[str, int] = 'deepest',
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        if isinstance(data_preprocessor, dict):
            data_preprocessor = dict(data_preprocessor)
            data_preprocessor.setdefault('type', 'mmpretrain.ClsDataPreprocessor')
            if isinstance(architecture, dict) and architecture.get('train_cfg'):
                data_preprocessor.setdefault('batch_augments', architecture['train_cfg'])
        super().__init__(
            build_architecture(architecture, sections, input_size),
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
            module_inplace=True,  # without recorders, ReLUs may work in place
        )
        probe = probe_shapes(self.architecture, input_size)
        self.input_size = probe.input_size
        self.num_exits, self.num_classes = probe.num_exits, probe.num_classes
        self.feature_channels = probe.feature_channels
        choices = ['deepest', 'ensemble', *range(1, self.num_exits + 1)]
        if predict_with not in choices:
            raise ConfigError(f'predict_with={predict_with!r}: choose from {choices}')
        self.predict_with = predict_with

        shallow = self.num_exits - 1
        self.exit_head_configs = [
            complete_exit_head(cfg, **shapes)
            for cfg, shapes in zip(_per_exit('exit_head', exit_head, shallow), probe.head_shapes())
        ]
        self.exit_heads = ModuleList(map(MODELS.build, self.exit_head_configs))
        self.exit_losses = ModuleList(nn.ModuleDict() for _ in range(shallow))
        configs = dict(label_loss=label_loss, logit_loss=logit_loss, hint_loss=hint_loss)
        for name, cfgs in configs.items():
            for losses, cfg in zip(self.exit_losses, _per_exit(name, cfgs, shallow)):
                if cfg is not None:
                    losses[name] = MODELS.build(cfg)
        probe.check_heads(self.exit_heads, self.exit_losses)
        self._register_load_state_dict_pre_hook(load_mmrazor_keys)
        self._register_load_state_dict_pre_hook(load_plain_keys, with_module=True)
        # Loaded by init_weights(), where each weight must fit; MMEngine would log what does not.
        self.pretrained = take_pretrained(self.architecture)
        self.frozen = freeze_architecture
        self.needs_labels = not freeze_architecture or any(
            'label_loss' in losses for losses in self.exit_losses
        )
        #: Whether the architecture comes with weights, so that it can be frozen.
        self.has_weights = bool(self.pretrained)
        if not isinstance(architecture, dict) or isinstance(self.architecture, TorchClassifier):
            self.has_weights |= not is_untrained(self.architecture)
        if freeze_architecture:
            self.architecture.requires_grad_(False)
            self.architecture.eval()
            if not isinstance(architecture, dict):
                # A built classifier is trained; MMEngine's Runner would initialize it again.
                self.architecture._is_init = True

    def init_weights(self) -> None:
        """Initialize the weights, and load those of the architecture's ``init_cfg``.

        Raises:
            CheckpointError: A weight of the checkpoint does not fit.
        """
        super().init_weights()
        if self.pretrained:
            load_pretrained(self.architecture, **self.pretrained)

    def train(self, mode: bool = True) -> 'BYOT':
        """Set the mode; a frozen architecture stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.architecture.eval()
        return self

    def forward_sections(self, inputs: Tensor) -> SectionOutput:
        """Run the architecture alone, on preprocessed images (N, 3, H, W)."""
        architecture = self.architecture
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if isinstance(architecture, TorchClassifier):
                return architecture.forward_sections(inputs)
            *maps, deepest = architecture.backbone(inputs)
            features: Tuple[Tensor, ...] = (deepest,)
            if architecture.with_neck:
                features = architecture.neck(features)
            return SectionOutput(tuple(maps), features[-1], architecture.head(features))

    def forward_exits(self, inputs: Inputs) -> List[ExitOutput]:
        """Features and logits of exits 1 to C, for images (N, 3, H, W) or their feature maps."""
        sections = inputs if isinstance(inputs, SectionOutput) else self.forward_sections(inputs)
        return forward_exits(sections, self.exit_heads)

    def loss(self, inputs: Inputs, data_samples: Samples) -> Dict[str, Tensor]:
        """Compute all losses of a batch; MMEngine trains on their sum.

        Args:
            inputs (Tensor | SectionOutput): Preprocessed images, (N, 3, H, W), or what
                :meth:`forward_sections` returned for them.
            data_samples (BatchSamples | list[DataSample]): Samples, with labels if a loss needs
                them.

        Returns:
            dict[str, Tensor]: See :func:`~mmrazor_byot.exits.exit_losses`.
        """
        return self.loss_terms(inputs, stack_targets(data_samples) if self.needs_labels else None)

    def loss_terms(self, inputs: Inputs, target: Optional[Tensor]) -> Dict[str, Tensor]:
        """:meth:`loss` with class indices (N,) or probabilities (N, K), for CompileHook."""
        outputs = self.forward_exits(inputs)
        deepest_loss = None
        if not self.frozen:
            # As mmpretrain's ClsHead calls it: the mean over samples, also of a loss of each class.
            is_torch = isinstance(self.architecture, TorchClassifier)
            owner = self.architecture if is_torch else self.architecture.head
            deepest_loss = partial(owner.loss_module, avg_factor=len(outputs[-1].logits))
        return exit_losses(outputs, target, self.exit_losses, deepest_loss)

    def _forward(self, inputs: Inputs, data_samples: Optional[list] = None) -> Tuple[Tensor, ...]:
        """The logits (N, K) of exits 1 to C."""
        return tuple(output.logits for output in self.forward_exits(inputs))

    def _predict(self, inputs: Tensor, data_samples: Optional[Samples] = None) -> Samples:
        """The samples with ``pred_score`` (K,) and ``pred_label`` according to ``predict_with``.

        Their ``exit_scores`` (C, K) are the softmax of every exit.
        """
        exit_scores = torch.stack(self._forward(inputs), dim=1).float().softmax(dim=-1)
        if self.predict_with == 'ensemble':
            scores = exit_scores.mean(dim=1)
        elif self.predict_with == 'deepest':
            scores = exit_scores[:, -1]
        else:
            scores = exit_scores[:, int(self.predict_with) - 1]
        if data_samples is None:
            data_samples = [DataSample() for _ in range(len(scores))]
        BatchSamples.of(data_samples).set_fields(
            pred_score=scores, pred_label=scores.argmax(dim=1), exit_scores=exit_scores
        )
        return data_samples


def _per_exit(name: str, cfg: OptExitConfig, count: int) -> list:
    """Expand the config of a head or loss to one for each shallow exit."""
    if cfg is None or isinstance(cfg, dict):
        return [cfg] * count
    if len(cfg) != count:
        raise ConfigError(f'{name} lists {len(cfg)} configs for {count} shallow exits')
    return list(cfg)
