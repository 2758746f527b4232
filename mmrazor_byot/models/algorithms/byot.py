"""Be Your Own Teacher: sections -> exits -> losses."""

from typing import Dict, List, Optional, Sequence, Tuple, Union

from mmengine.model import BaseModel, ModuleList
from mmrazor.models.algorithms.base import BaseAlgorithm
from torch import Tensor, nn

from mmrazor_byot.registry import MODELS
from mmrazor_byot.structures import ExitOutput, stack_targets

from ..heads import complete_exit_head
from ..mmrazor_keys import load_mmrazor_keys, rename_mmrazor_keys
from ..network_view import look_at
from ..sections import build_architecture, per_exit
from .exit_answers import ExitAnswers, Samples
from .loss_sum import LossSum

OptConfig = Optional[Union[dict, Sequence[Optional[dict]]]]


@MODELS.register_module()
class BYOT(LossSum, ExitAnswers, BaseAlgorithm):
    r"""Self-distillation of one network (arXiv 1905.08094).

    A classifier is cut into C sections. Behind each but the last stands an exit head; the
    classifier itself is exit C. All exits learn from the labels, and the shallow ones from the
    deepest (section 3.2 of the paper):

    .. math::
        L = CE(q_C, y) + \sum_{i<C} \left[ (1 - \alpha) CE(q_i, y)
            + \alpha T^2 KL(p_C \| p_i) + \lambda \|F_i - F_C\|_2^2 \right]

    Args:
        architecture (dict | BaseModel): A classifier of mmpretrain: its config, MMRazor's
            ``dict(cfg_path='mmpretrain::...', pretrained=False)``, or a built one. Where its head
            says ``in_channels=None``, they are found too.
        exit_head (dict | list[dict]): Config of the shallow exit heads; a list has one for each.
            Channels are found from the backbone.
        label_loss (dict | list | None): Called with logits and target. The weight is :math:`1 -
            \alpha`. A list has one for each shallow exit; None leaves the loss out.
        logit_loss (dict | list | None): Called with logits and the deepest exit's logits. The
            weight is :math:`\alpha`.
        hint_loss (dict | list | None): Called with the feature and the deepest exit's feature. The
            weight is :math:`\lambda`.
        sections (Sequence[int], optional): The backbone's ``out_indices``: a section ends behind
            each. Defaults to what the backbone is set to, or where that is one feature map, to all
            its stages.
        input_size (int | Sequence[int]): Size of the images, S, (H, W) or (C, H, W), with which the
            network is looked at and its FLOPs are counted. Defaults to 32.
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
            if augments:  # Mixup and so on stand there, as mmpretrain's do
                data_preprocessor.setdefault('batch_augments', augments)
        super().__init__(
            build_architecture(architecture, sections, input_size),
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
            module_inplace=True,
        )  # no recorders here that ReLUs could fool
        view = look_at(self.architecture, input_size)
        self.input_size = view.input_size
        self.num_exits = len(view.maps)
        self.num_classes = view.num_classes
        self.feature_channels = view.feature.shape[1]
        self.predict_with = self._checked_answer(predict_with)

        shallow = self.num_exits - 1
        self.exit_head_configs = [
            complete_exit_head(cfg, **shapes)
            for cfg, shapes in zip(per_exit('exit_head', exit_head, shallow), view.head_shapes())
        ]
        self.exit_heads = ModuleList(map(MODELS.build, self.exit_head_configs))
        configs = {
            name: per_exit(name, cfg, shallow)
            for name, cfg in dict(
                label_loss=label_loss, logit_loss=logit_loss, hint_loss=hint_loss
            ).items()
        }
        self.exit_losses = nn.ModuleList(
            nn.ModuleDict(
                {
                    name: MODELS.build(cfgs[i])
                    for name, cfgs in configs.items()
                    if cfgs[i] is not None
                }
            )
            for i in range(shallow)
        )
        view.check_heads(self.exit_heads, self.exit_losses)
        self._register_load_state_dict_pre_hook(load_mmrazor_keys)

    #: How a checkpoint's names are read before they are compared with ours.
    convert_state_dict = staticmethod(rename_mmrazor_keys)

    def forward_exits(self, inputs: Tensor) -> List[ExitOutput]:
        """Run the network and every exit head, each exactly once.

        Args:
            inputs (Tensor): Preprocessed images, (N, 3, H, W).

        Returns:
            list[ExitOutput]: Feature and logits of exit 1 to C.
        """
        maps = self.architecture.backbone(inputs)
        exits = [ExitOutput(*head(feature_map)) for head, feature_map in zip(self.exit_heads, maps)]
        pooled = maps[-1:]
        if self.architecture.with_neck:
            pooled = self.architecture.neck(pooled)
        exits.append(ExitOutput(pooled[-1], self.architecture.head(pooled)))
        return exits

    def loss(self, inputs: Tensor, data_samples: Samples) -> Dict[str, Tensor]:
        """All losses of a batch.

        Args:
            inputs (Tensor): Preprocessed images, (N, 3, H, W).
            data_samples (BatchSamples | list[DataSample]): Their labels.

        Returns:
            dict[str, Tensor]: Those of :meth:`loss_terms`; MMEngine trains on their sum.
        """
        return self.loss_terms(inputs, stack_targets(data_samples))

    def loss_terms(self, inputs: Tensor, target: Tensor) -> Dict[str, Tensor]:
        """Network and losses: tensors in, tensors out (CompileHook's part).

        Args:
            inputs (Tensor): Preprocessed images, (N, 3, H, W).
            target (Tensor): Class indices (N,), or probabilities (N, K).

        Returns:
            dict[str, Tensor]: ``exit1.label_loss``, ``exit1.logit_loss``, ``exit1.hint_loss`` and
            so on to ``exitC.label_loss``.
        """
        *shallow, deepest = self.forward_exits(inputs)
        teacher = deepest.detach()  # nothing flows back to the deepest exit
        losses = {}
        for i, (out, exit_losses) in enumerate(zip(shallow, self.exit_losses), start=1):
            arguments = dict(
                label_loss=(out.logits, target),
                logit_loss=(out.logits, teacher.logits),
                hint_loss=(out.feature, teacher.feature),
            )
            for name, loss in exit_losses.items():
                losses[f'exit{i}.{name}'] = loss(*arguments[name])
        losses[f'exit{self.num_exits}.label_loss'] = self.architecture.head.loss_module(
            deepest.logits, target
        )
        return losses

    def _forward(self, inputs: Tensor, data_samples: Optional[list] = None) -> Tuple[Tensor, ...]:
        """The logits (N, K) of exit 1 to C."""
        return tuple(out.logits for out in self.forward_exits(inputs))
