"""Be Your Own Teacher as an algorithm of MMRazor."""

from typing import Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModel, ModuleList
from mmpretrain.structures import DataSample
from mmrazor.models.algorithms.base import BaseAlgorithm
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS
from mmrazor_byot.structures import BatchSamples, stack_targets

from ..exits import ExitOutput, exit_losses, forward_exits
from ..heads import complete_exit_head
from ..mmrazor_keys import load_mmrazor_keys, rename_mmrazor_keys
from ..sections import build_architecture, per_exit, probe_shapes

OptConfig = Optional[Union[dict, Sequence[Optional[dict]]]]
Samples = Union[BatchSamples, List[DataSample]]


@MODELS.register_module()
class BYOT(BaseAlgorithm):
    r"""Self-distillation of one network (arXiv 1905.08094).

    A classifier is cut into C sections. After each but the last there is an exit head; the
    classifier itself is exit C. All exits learn from the labels, and the shallow ones from the
    deepest: :func:`~mmrazor_byot.models.exits.exit_losses` has the formula.

    Args:
        architecture (dict | BaseModel): A classifier of mmpretrain: its config, MMRazor's
            ``dict(cfg_path='mmpretrain::...', pretrained=False)``, or a built one.
            ``in_channels=None`` of its head is filled in.
        exit_head (dict | list[dict]): Config of the shallow exit heads; a list has one for each.
            Channels are filled in from the backbone.
        label_loss (dict | list | None): Called with logits and target; its weight is
            :math:`1 - \alpha`. A list has one for each shallow exit; None leaves the loss out.
        logit_loss (dict | list | None): Called with logits and the deepest exit's logits; its
            weight is :math:`\alpha`.
        hint_loss (dict | list | None): Called with the feature and the deepest exit's feature; its
            weight is :math:`\lambda`.
        sections (Sequence[int], optional): The backbone's ``out_indices``: a section ends after
            each. Defaults to what the backbone is set to, or if that is one feature map, to all its
            stages.
        input_size (int | Sequence[int]): Size of the images, S, (H, W) or (C, H, W), with which
            shapes are probed and FLOPs counted. Defaults to 32.
        predict_with (str | int): What ``predict`` answers with: ``'deepest'``, ``'ensemble'`` or an
            exit from 1 to C.
        data_preprocessor (dict | nn.Module, optional): Defaults to the architecture's. A dict
            without type is a ``ClsDataPreprocessor``; its ``batch_augments`` default to the
            architecture's ``train_cfg``.
        init_cfg (dict, optional): Initialization config.

    Raises:
        ConfigError: Sections, heads, losses and backbone do not fit.

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
        exit_head: Union[dict, Sequence[dict]] = dict(type='mmrazor_byot.BottleneckHead'),
        label_loss: OptConfig = dict(type='mmrazor_byot.LabelLoss', loss_weight=0.7),
        logit_loss: OptConfig = dict(type='mmrazor_byot.LogitLoss', temperature=3, loss_weight=0.3),
        hint_loss: OptConfig = dict(type='mmrazor_byot.HintLoss', loss_weight=0.03),
        sections: Optional[Sequence[int]] = None,
        input_size: Union[int, Sequence[int]] = 32,
        predict_with: Union[str, int] = 'deepest',
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        if isinstance(data_preprocessor, dict):
            data_preprocessor = dict(data_preprocessor)
            data_preprocessor.setdefault('type', 'mmpretrain.ClsDataPreprocessor')
            augments = isinstance(architecture, dict) and architecture.get('train_cfg')
            if augments:  # Mixup and so on, where mmpretrain's recipes have them
                data_preprocessor.setdefault('batch_augments', augments)
        super().__init__(
            build_architecture(architecture, sections, input_size),
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
            module_inplace=True,  # there are no recorders that a ReLU in place could fool
        )
        probe = probe_shapes(self.architecture, input_size)
        self.input_size = probe.input_size
        self.num_exits = len(probe.maps)
        self.num_classes = probe.num_classes
        self.feature_channels = probe.feature.shape[1]
        answers = ['deepest', 'ensemble', *range(1, self.num_exits + 1)]
        if predict_with not in answers:
            raise ConfigError(f'predict_with={predict_with!r}: choose from {answers}')
        self.predict_with = predict_with

        shallow = self.num_exits - 1
        self.exit_head_configs = [
            complete_exit_head(cfg, **shapes)
            for cfg, shapes in zip(per_exit('exit_head', exit_head, shallow), probe.head_shapes())
        ]
        self.exit_heads = ModuleList(map(MODELS.build, self.exit_head_configs))
        configs = dict(label_loss=label_loss, logit_loss=logit_loss, hint_loss=hint_loss)
        self.exit_losses = nn.ModuleList(nn.ModuleDict() for _ in range(shallow))
        for name, given in configs.items():
            for losses, cfg in zip(self.exit_losses, per_exit(name, given, shallow)):
                if cfg is not None:
                    losses[name] = MODELS.build(cfg)
        probe.check_heads(self.exit_heads, self.exit_losses)
        self._register_load_state_dict_pre_hook(load_mmrazor_keys)

    #: How the names in a checkpoint are read before they are compared with ours.
    convert_state_dict = staticmethod(rename_mmrazor_keys)

    def forward_exits(self, inputs: Tensor) -> List[ExitOutput]:
        """Run the network and every exit head, each exactly once.

        Args:
            inputs (Tensor): Preprocessed images, (N, 3, H, W).

        Returns:
            list[ExitOutput]: Feature and logits of exit 1 to C.
        """
        maps = self.architecture.backbone(inputs)
        return forward_exits(maps, [*self.exit_heads, self._deepest_head])

    def _deepest_head(self, feature_map: Tensor) -> Tuple[Tensor, Tensor]:
        """The classifier's own neck and head."""
        features: Tuple[Tensor, ...] = (feature_map,)
        if self.architecture.with_neck:
            features = self.architecture.neck(features)
        return features[-1], self.architecture.head(features)

    def loss(self, inputs: Tensor, data_samples: Samples) -> Dict[str, Tensor]:
        """All losses of a batch; MMEngine trains on their sum.

        Args:
            inputs (Tensor): Preprocessed images, (N, 3, H, W).
            data_samples (BatchSamples | list[DataSample]): Their labels.

        Returns:
            dict[str, Tensor]: Those of :meth:`loss_terms`.
        """
        return self.loss_terms(inputs, stack_targets(data_samples))

    def loss_terms(self, inputs: Tensor, target: Tensor) -> Dict[str, Tensor]:
        """Network and losses, tensors in, tensors out: what CompileHook compiles.

        Args:
            inputs (Tensor): Preprocessed images, (N, 3, H, W).
            target (Tensor): Class indices (N,), or probabilities (N, K).

        Returns:
            dict[str, Tensor]: See :func:`~mmrazor_byot.models.exits.exit_losses`.
        """
        outputs = self.forward_exits(inputs)
        return exit_losses(outputs, target, self.exit_losses, self.architecture.head.loss_module)

    def _forward(self, inputs: Tensor, data_samples: Optional[list] = None) -> Tuple[Tensor, ...]:
        """The logits (N, K) of exit 1 to C."""
        return tuple(output.logits for output in self.forward_exits(inputs))

    def _predict(self, inputs: Tensor, data_samples: Optional[Samples] = None) -> Samples:
        """Classify images.

        Args:
            inputs (Tensor): Preprocessed images, (N, 3, H, W).
            data_samples (BatchSamples | list[DataSample], optional): To fill in.

        Returns:
            BatchSamples | list[DataSample]: Each with ``pred_score`` (K,) and ``pred_label`` as
            ``predict_with`` says, and ``exit_scores`` (C, K), the softmax of every exit.
        """
        exit_scores = torch.stack(self._forward(inputs), dim=1).float().softmax(dim=-1)
        if self.predict_with == 'ensemble':
            scores = exit_scores.mean(dim=1)
        else:
            chosen = self.num_exits if self.predict_with == 'deepest' else self.predict_with
            scores = exit_scores[:, chosen - 1]
        if data_samples is None:
            data_samples = [DataSample() for _ in range(len(scores))]
        BatchSamples.of(data_samples).set_fields(
            pred_score=scores, pred_label=scores.argmax(dim=1), exit_scores=exit_scores
        )
        return data_samples
