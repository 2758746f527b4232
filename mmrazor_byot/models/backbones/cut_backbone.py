"""A backbone without what comes after one of its feature maps."""

from typing import Any, Dict, Iterator, List, Sequence, Set

import torch
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS

from ..reachable import differentiable_copy, reached


class Absent(nn.Module):
    """In place of a module: no weights, input is output, and its parts are None."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for name, _ in module.named_children():
            self.register_module(name, None)
        for name, value in vars(module).items():
            if value is None:  # the downsampling of Swin's last stage
                setattr(self, name, None)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        return inputs[0] if len(inputs) == 1 else inputs


@MODELS.register_module()
def CutBackbone(backbone: dict, absent: Sequence[str]) -> nn.Module:
    """Build any backbone without some of its modules.

    What is returned is of the backbone's own class, and its weights keep their names; each absent
    module is an :class:`Absent`.

    Args:
        backbone (dict): Config of the backbone. Its ``out_indices`` name the one feature map to
            return.
        absent (Sequence[str]): Names of the modules to leave out, see :func:`modules_behind`.

    Returns:
        nn.Module: The backbone.

    Raises:
        ConfigError: It has no such module.
    """
    built = MODELS.build(backbone)
    for name in absent:
        parent, _, child = name.rpartition('.')
        try:
            owner = built.get_submodule(parent)
            module = owner.get_submodule(child)
        except AttributeError as e:
            raise ConfigError(
                f'CutBackbone: {type(built).__name__} has no module "{name}" to leave out'
            ) from e
        owner._modules[child] = Absent(module)
    return built


def modules_behind(backbone: nn.Module, image: Tensor) -> List[str]:
    """Find what a backbone's answer does not depend on.

    A module is needed if a gradient of the answer reaches its parameters or its output. A module
    that was not run and has no weights does not count.

    Args:
        backbone (nn.Module): It returns feature maps; it is not changed.
        image (Tensor): An image that it can take, (1, C, H, W).

    Returns:
        list[str]: Names of modules, the outermost of each that is not needed, in the order of the
        backbone.
    """
    backbone = differentiable_copy(backbone)
    outputs: Dict[str, List[Tensor]] = {}
    for name, module in backbone.named_modules():
        module.register_forward_hook(
            lambda _, __, output, name=name: outputs.setdefault(name, []).extend(_tensors(output))
        )
    parameters = dict(backbone.named_parameters())
    with torch.enable_grad():
        answers = list(_tensors(backbone(image)))
        weights = {id(p) for p in reached(answers, list(parameters.values()))}
        needed = {name.rpartition('.')[0] for name, p in parameters.items() if id(p) in weights}
        for name, tensors in outputs.items():
            graph = [x for x in tensors if x.requires_grad]
            if not graph or reached(answers, graph):
                needed.add(name)
    return list(_outermost(backbone, '', needed, outputs.keys()))


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (list, tuple)):
        for part in output:
            yield from _tensors(part)


def _outermost(module: nn.Module, prefix: str, needed: Set[str], called) -> Iterator[str]:
    for child_name, child in module.named_children():
        name = f'{prefix}{child_name}'
        inside = any(n == name or n.startswith(f'{name}.') for n in needed)
        # A list of modules is not run itself, but iterated over.
        is_list = isinstance(child, (nn.ModuleList, nn.ModuleDict))
        if inside or is_list:
            yield from _outermost(child, f'{name}.', needed, called)
        elif name in called or next(child.parameters(), None) is not None:
            yield name
