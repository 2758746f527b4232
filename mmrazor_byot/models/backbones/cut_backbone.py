"""A backbone without the modules after one of its feature maps."""

from typing import Any, Dict, Iterator, List, Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.registry import MODELS

from ..reachable import differentiable_copy, used_tensors


class Absent(nn.Module):
    """Identity without weights in place of a module, whose children and attributes are None."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for name, _ in module.named_children():
            self.register_module(name, None)
        for name, value in vars(module).items():
            if value is None:  # the downsampling of Swin's last stage
                setattr(self, name, None)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return inputs[0] if len(inputs) == 1 else inputs


@MODELS.register_module()
def CutBackbone(backbone: dict, absent: Sequence[str]) -> nn.Module:
    """Build a backbone of any type without some of its modules.

    The result is of the backbone's own class, and its weights keep their names; each absent module
    is an :class:`Absent`.

    Args:
        backbone (dict): Config of the backbone. Its ``out_indices`` name the one feature map to
            return.
        absent (Sequence[str]): Names of the modules to leave out, see :func:`find_unused_modules`.

    Returns:
        nn.Module: The backbone.

    Raises:
        ConfigError: The backbone does not have such a module.
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


def find_unused_modules(backbone: BaseModule, image: Tensor) -> List[str]:
    """Names of the outermost modules that the feature maps of a backbone do not depend on.

    A module is used if a gradient of the maps reaches its parameters or its own output. Modules
    that do not run and have no weights are ignored. ``image`` (1, C, H, W) is any suitable one.
    """
    backbone = differentiable_copy(backbone)
    module_outputs: Dict[str, List[Tensor]] = {}
    for name, module in backbone.named_modules():
        module.register_forward_hook(
            lambda _, __, output, name=name: module_outputs.setdefault(name, []).extend(
                _tensors(output)
            )
        )
    parameters = dict(backbone.named_parameters())
    with torch.enable_grad():
        outputs = list(_tensors(backbone(image)))
        weights = {id(p) for p in used_tensors(outputs, list(parameters.values()))}
        used = {name.rpartition('.')[0] for name, p in parameters.items() if id(p) in weights}
        for name, tensors in module_outputs.items():
            graph = [x for x in tensors if x.requires_grad]
            if not graph or used_tensors(outputs, graph):
                used.add(name)

    unused: List[str] = []
    for name, module in backbone.named_modules():
        inside_unused = name.startswith(tuple(f'{outer}.' for outer in unused))
        is_used = any(n == name or n.startswith(f'{name}.') for n in used)
        # Containers are iterated over, not called.
        if inside_unused or is_used or isinstance(module, (nn.ModuleList, nn.ModuleDict)):
            continue
        if name in module_outputs or next(module.parameters(), None) is not None:
            unused.append(name)
    return unused


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (list, tuple)):
        for part in output:
            yield from _tensors(part)
