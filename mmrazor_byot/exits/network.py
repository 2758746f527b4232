"""Exits for any classifier in plain torch."""

from typing import Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError

from .heads import BottleneckHead, PooledHead, fitting_shapes
from .losses import HintLoss, LabelLoss, LogitLoss
from .method import ExitOutput, SectionOutput, exit_losses, forward_exits
from .module_sections import ModuleSections
from .shapes import InputSize, ShapeProbe

#: The constructor of an exit head, called with those of the shapes of BottleneckHead that it takes.
HeadType = Callable[..., nn.Module]


class ExitNetwork(nn.Module):
    """A classifier with an exit head after each section but the last, see :func:`add_exits`.

    Attributes:
        net (nn.Module): The classifier; its weights keep their names.
        exit_heads (nn.ModuleList): The heads of exit 1 to C - 1.
        losses (nn.ModuleDict): Any of ``label_loss``, ``logit_loss`` and ``hint_loss``.
        frozen (bool): Whether only the exit heads are trained.
        input_size (tuple[int, int, int]): (C, H, W) of the images.
        num_exits, num_classes (int): C and K.
    """

    def __init__(
        self,
        net: nn.Module,
        sections: ModuleSections,
        shapes: ShapeProbe,
        exit_heads: Iterable[nn.Module],
        losses: Mapping[str, nn.Module],
        freeze: bool,
    ) -> None:
        super().__init__()
        self.net, self.frozen = net, freeze
        self.exit_heads, self.losses = nn.ModuleList(exit_heads), nn.ModuleDict(losses)
        self.input_size, self.num_exits = shapes.input_size, shapes.num_exits
        self.num_classes = shapes.num_classes
        self._sections = sections
        if freeze:
            net.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> 'ExitNetwork':
        """Set the mode; a frozen classifier stays in evaluation mode, batch norm included."""
        super().train(mode)
        if self.frozen:
            self.net.eval()
        return self

    def forward_sections(self, images: Tensor) -> SectionOutput:
        """Run the classifier alone, on images (N, C, H, W)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self._sections.run(self.net, images)

    def forward_exits(self, inputs: Union[Tensor, SectionOutput]) -> List[ExitOutput]:
        """Features and logits of exit 1 to C, for images (N, C, H, W) or their feature maps."""
        sections = inputs if isinstance(inputs, tuple) else self.forward_sections(inputs)
        return forward_exits(sections, self.exit_heads)

    def forward(
        self,
        inputs: Union[Tensor, SectionOutput],
        target: Optional[Tensor] = None,
        mode: str = 'tensor',
    ) -> Union[Tuple[Tensor, ...], Dict[str, Tensor]]:
        """The logits (N, K) of exit 1 to C, for images (N, C, H, W) or their feature maps.

        With ``mode='loss'`` or a target, :meth:`loss`: ``DistributedDataParallel`` synchronizes
        gradients only if the loss is computed in ``forward``.
        """
        if mode == 'loss' or target is not None:
            return self.loss(inputs, target)
        return tuple(output.logits for output in self.forward_exits(inputs))

    def loss(
        self, inputs: Union[Tensor, SectionOutput], target: Optional[Tensor] = None
    ) -> Dict[str, Tensor]:
        """The terms of the loss of a batch, to be summed, see :func:`exit_losses`.

        Args:
            inputs (Tensor | SectionOutput): Images (N, C, H, W), or what :meth:`forward_sections`
                returned for them.
            target (Tensor, optional): Class indices (N,), or probabilities (N, K). Not needed if
                the network is frozen and ``label_loss`` is None.

        Raises:
            ConfigError: The target is missing.
        """
        if target is None and not (self.frozen and 'label_loss' not in self.losses):
            raise ConfigError(
                'loss: without a target only exits of a frozen network learn, from the deepest '
                'exit: add_exits(..., freeze=True, label_loss=None)'
            )
        outputs = self.forward_exits(inputs)
        deepest_loss = None if self.frozen else F.cross_entropy
        return exit_losses(outputs, target, [self.losses] * (len(outputs) - 1), deepest_loss)


def add_exits(
    net: nn.Module,
    after: Sequence[str],
    input_size: InputSize,
    exit_head: Union[HeadType, Sequence[HeadType]] = BottleneckHead,
    label_loss: Optional[nn.Module] = LabelLoss(0.7),
    logit_loss: Optional[nn.Module] = LogitLoss(3, 0.3),
    hint_loss: Optional[nn.Module] = HintLoss(0.03),
    freeze: bool = False,
) -> ExitNetwork:
    r"""Add an exit after each section of a classifier (arXiv 1905.08094).

    Args:
        net (nn.Module): Images (N, C, H, W) to logits (N, K), returned by its last ``nn.Linear``.
            It becomes a part of the result; its weights keep their names and values.
        after (Sequence[str]): Names of the modules after which section 1 to C - 1 end, as in
            ``net.named_modules()``. Each returns a feature map (N, C_i, H_i, W_i).
        input_size (int | Sequence[int]): Size of the images, S, (H, W) or (C, H, W).
        exit_head (Callable | Sequence[Callable]): The constructor of the exit heads, or a list with
            one for each, called with those of ``in_channels``, ``out_channels``, ``num_classes``
            and ``downsample`` that it takes. Other arguments can be set by ``functools.partial``.
            Defaults to :class:`BottleneckHead`.
        label_loss (nn.Module, optional): Loss of a shallow exit's logits and the target; its weight
            is :math:`1 - \alpha`. None leaves it out.
        logit_loss (nn.Module, optional): Loss of its logits and the deepest exit's.
        hint_loss (nn.Module, optional): Loss of its feature and the deepest exit's.
        freeze (bool): Train only the exit heads: the classifier has no gradients and stays in
            evaluation mode. Defaults to False.

    Raises:
        ConfigError: The classifier cannot be cut after these modules, or the heads do not fit.

    Examples:
        >>> model = add_exits(resnet18(), after=['layer1', 'layer2', 'layer3'], input_size=224)
        >>> logits = model(images)  # a tuple with those of exit 1 to 4
        >>> sum(model.loss(images, target).values()).backward()
    """
    terms = dict(label_loss=label_loss, logit_loss=logit_loss, hint_loss=hint_loss)
    losses = {name: loss for name, loss in terms.items() if loss is not None}
    for name, loss in losses.items():
        if not isinstance(loss, nn.Module):
            raise ConfigError(f'{name}={loss!r:.80}: give a module, such as LabelLoss(0.7)')
    sections = ModuleSections(net, after)
    shapes = sections.probe(net, input_size)
    shallow = shapes.num_exits - 1
    constructors: Sequence = [exit_head] * shallow
    if isinstance(exit_head, (list, tuple)):
        constructors = exit_head
    if len(constructors) != shallow:
        raise ConfigError(f'exit_head lists {len(constructors)} for {shallow} shallow exits')
    heads = [_build(*pair) for pair in zip(constructors, shapes.head_shapes())]
    heads = [head.to(next(net.parameters())) for head in heads]
    shapes.check_heads(heads, [losses] * shallow)
    return ExitNetwork(net, sections, shapes, heads, losses, freeze)


def _build(constructor: HeadType, shapes: Dict[str, int]) -> nn.Module:
    try:
        head = constructor(**fitting_shapes(constructor, **shapes))
    except ConfigError:
        raise
    except Exception as e:  # any constructor can raise anything
        raise ConfigError(
            f'exit_head: {constructor!r:.80} is not the constructor of a head, such as '
            f'BottleneckHead: {e}'
        ) from e
    if not isinstance(head, nn.Module):
        raise ConfigError(f'exit_head: {constructor!r:.80} makes a {type(head).__name__}')
    if isinstance(head, PooledHead):
        head.init_weights()
    return head
