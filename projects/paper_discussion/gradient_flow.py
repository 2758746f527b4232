"""How much gradient reaches the layers of a network in training."""

import copy
import math
from typing import Dict, List, NamedTuple, Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from mmrazor_byot.errors import ConfigError, NonFiniteLossError
from mmrazor_byot.evaluation.complexity import exit_parameters
from mmrazor_byot.exits.shapes import eval_no_grad

#: BYOT's name for what a plain recipe calls the model.
TRUNK = 'architecture.'


class Layer(NamedTuple):
    """A convolution or a linear layer on the way to the deepest exit.

    Attributes:
        name (str): Its name, that of the plain network.
        section (int): The first exit that depends on it, 1 to C.
    """

    name: str
    section: int


def trunk_layers(model: BaseModel, image: Tensor) -> List[Layer]:
    """The layers that the deepest exit depends on, as they run.

    Args:
        model (BaseModel): BYOT, or a plain classifier, which has one exit.
        image (Tensor): A preprocessed image, (1, C, H, W).

    Returns:
        list[Layer]: From the first to the classifier.
    """
    exits = [set(names) for names in exit_parameters(model, image.shape[1:])]
    return [
        Layer(
            name.removeprefix(TRUNK),
            1 + next(i for i, names in enumerate(exits) if f'{name}.weight' in names),
        )
        for name in running_order(model, image)
        if f'{name}.weight' in exits[-1]
    ]


def running_order(model: BaseModel, image: Tensor) -> List[str]:
    """Names of the convolutions and linear layers, in the order they run.

    Args:
        model (BaseModel): BYOT, or a plain classifier.
        image (Tensor): A preprocessed image, (1, C, H, W).
    """
    order: Dict[str, None] = {}  # a layer that runs twice counts once

    def note(name: str):
        return lambda *_: order.setdefault(name)

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if _is_layer(module)
    ]
    try:
        with eval_no_grad(model):
            model(image, mode='tensor')
    finally:
        for hook in hooks:
            hook.remove()
    return list(order)


def mean_gradients(model: BaseModel, batches: Sequence[dict]) -> Dict[str, float]:
    r"""Mean magnitude of the gradient of each layer's weight.

    For a weight of n numbers and B batches it is :math:`\frac{1}{B} \sum_b \frac{1}{n} \sum_i
    |\partial L_b / \partial w_i|`, where L is the sum of the losses that the network is trained on.
    All happens on a copy in training mode: weights and batch-norm statistics of the caller's
    network do not move.

    Args:
        model (BaseModel): BYOT, or a plain classifier.
        batches (Sequence[dict]): Training batches, as a loader gives them.

    Returns:
        dict[str, float]: By name of the layer, see :func:`trunk_layers`; with ``exit_heads.``
        before it in the exit heads. A layer that the losses do not reach is left out.

    Raises:
        ConfigError: There is no batch.
        NonFiniteLossError: A loss is NaN or infinite.
    """
    if not batches:
        raise ConfigError('there is no training batch to take gradients of')
    model = copy.deepcopy(model)
    model.train()
    layers = {name: module.weight for name, module in model.named_modules() if _is_layer(module)}
    sums: Dict[str, float] = {}
    for batch in batches:
        model.zero_grad(set_to_none=True)
        _training_loss(model, batch).backward()
        for name, weight in layers.items():
            if weight.grad is not None:
                name = name.removeprefix(TRUNK)
                sums[name] = sums.get(name, 0.0) + weight.grad.abs().mean().item()
    return {name: total / len(batches) for name, total in sums.items()}


def common_layers(networks: Dict[str, Sequence[Layer]]) -> List[str]:
    """Names of the layers, which must be those of all networks.

    Args:
        networks (dict): By name of the network, what :func:`trunk_layers` found.

    Raises:
        ConfigError: They are not the same.
    """
    names = {key: [x.name for x in found] for key, found in networks.items()}
    (first, expected), *others = names.items()
    for name, found in others:
        if found != expected:
            raise ConfigError(
                f'{first} has {len(expected)} layers and {name} has {len(found)}, or they have '
                'other names: only networks of one architecture are compared layer by layer'
            )
    return expected


def section_starts(layers: Sequence[Layer]) -> List[int]:
    """Where sections begin.

    Args:
        layers (Sequence[Layer]): Of :func:`trunk_layers`.

    Returns:
        list[int]: Numbers of layers, from 0; that of the first section is left out, and so is what
        has no layer of its own.
    """
    return [
        i for i in range(1, len(layers)) if layers[i].section > max(x.section for x in layers[:i])
    ]


def _training_loss(model: BaseModel, batch: dict) -> Tensor:
    """The loss of a batch, as the train loop computes it."""
    data = model.data_preprocessor(batch, True)
    with torch.enable_grad():
        losses = model(**data, mode='loss')
        total, _ = model.parse_losses(losses)
    if not math.isfinite(total.item()):
        raise NonFiniteLossError(
            f'the training loss is {total.item()}, so there are no gradients: the weights are '
            'damaged, or come of a training that diverged'
        )
    return total


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, (_ConvNd, nn.Linear))
